module clients.test/crypto11

go 1.13

require github.com/ThalesIgnite/crypto11 v1.2.5
