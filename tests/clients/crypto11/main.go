// crypto11: keys of a token as Go's crypto.Signer, crypto.Decrypter, cipher.AEAD and hash.Hash. Go's own cryptography
// is the referee.
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ThalesIgnite/crypto11"
)

var message = []byte("signed by crypto11")

func main() {
	config := &crypto11.Config{
		Path:       os.Getenv("PKCS11_MODULE"),
		TokenLabel: os.Getenv("PKCS11_TOKEN"),
		Pin:        os.Getenv("PKCS11_PIN"),
	}
	wrong := *config
	wrong.Pin += "0"
	part("a wrong PIN is refused", func() error {
		if _, err := crypto11.Configure(&wrong); err == nil {
			return errors.New("let in")
		}
		return nil
	})
	context, err := crypto11.Configure(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, "no token:", err)
		os.Exit(1)
	}
	rsaKey, err := context.GenerateRSAKeyPairWithLabel([]byte("r"), []byte("rsa"), 2048)
	must(err)
	ecKey, err := context.GenerateECDSAKeyPairWithLabel([]byte("e"), []byte("ec"), elliptic.P256())
	must(err)
	p384, err := context.GenerateECDSAKeyPairWithLabel([]byte("f"), []byte("p384"), elliptic.P384())
	must(err)

	part("signatures with RSA", func() error { return signsRSA(rsaKey) })
	part("signatures with EC", func() error {
		if err := signsEC(ecKey, sum256(message)); err != nil {
			return err
		}
		digest := sha512.Sum384(message)
		return signsEC(p384, digest[:])
	})
	part("decryption with RSA", func() error { return decrypts(rsaKey) })
	part("a TLS server, rsa", func() error { return serves(rsaKey) })
	part("a TLS server, ec", func() error { return serves(ecKey) })
	part("a request for a certificate", func() error { return requests(ecKey) })
	part("a certificate as an object", func() error { return keepsCertificate(context, ecKey) })
	part("AES with a key of the token", func() error { return encrypts(context) })
	part("an authentication code with a key of the token", func() error { return authenticates(context) })
	part("thirty-two goroutines with two keys", func() error { return concurrently(rsaKey, ecKey) })
	part("keys are found", func() error { return finds(context) })
	part("keys are deleted", func() error {
		for _, key := range []crypto11.Signer{rsaKey, ecKey, p384} {
			if err := key.Delete(); err != nil {
				return err
			}
		}
		left, err := context.FindAllKeyPairs()
		if err == nil && len(left) != 0 {
			err = fmt.Errorf("%d are left", len(left))
		}
		return err
	})
	part("the end", context.Close)
	if failed {
		os.Exit(1)
	}
}

var failed bool

func part(name string, body func() error) {
	if err := body(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		fmt.Println("failed:", name)
		failed = true
		return
	}
	fmt.Println("passed:", name)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func sum256(data []byte) []byte {
	digest := sha256.Sum256(data)
	return digest[:]
}

func signsRSA(key crypto11.Signer) error {
	public := key.Public().(*rsa.PublicKey)
	digest := sum256(message)
	signature, err := key.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		return err
	}
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature); err != nil {
		return err
	}
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	if signature, err = key.Sign(rand.Reader, digest, pss); err != nil {
		return err
	}
	if err := rsa.VerifyPSS(public, crypto.SHA256, digest, signature, pss); err != nil {
		return err
	}
	if rsa.VerifyPSS(public, crypto.SHA256, sum256([]byte("something else")), signature, pss) == nil {
		return errors.New("any message passes")
	}
	return nil
}

func signsEC(key crypto11.Signer, digest []byte) error {
	signature, err := key.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		return err
	}
	public := key.Public().(*ecdsa.PublicKey)
	if !ecdsa.VerifyASN1(public, digest, signature) {
		return errors.New("the signature is wrong")
	}
	if ecdsa.VerifyASN1(public, sum256([]byte("something else")), signature) {
		return errors.New("any message passes")
	}
	return nil
}

func decrypts(key crypto11.SignerDecrypter) error {
	public := key.Public().(*rsa.PublicKey)
	secret, err := rsa.EncryptPKCS1v15(rand.Reader, public, message)
	must(err)
	plain, err := key.Decrypt(rand.Reader, secret, &rsa.PKCS1v15DecryptOptions{})
	if err != nil || !bytes.Equal(plain, message) {
		return fmt.Errorf("PKCS #1: %q %v", plain, err)
	}
	secret, err = rsa.EncryptOAEP(crypto.SHA1.New(), rand.Reader, public, message, nil)
	must(err)
	plain, err = key.Decrypt(rand.Reader, secret, &rsa.OAEPOptions{Hash: crypto.SHA1})
	if err != nil || !bytes.Equal(plain, message) {
		return fmt.Errorf("OAEP: %q %v", plain, err)
	}
	return nil
}

func certificate(key crypto.Signer) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func serves(key crypto.Signer) error {
	own, err := certificate(key)
	if err != nil {
		return err
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{own.Raw}, PrivateKey: key}},
			MaxVersion:   version,
		})
		must(err)
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = connection.Write(message)
				_ = connection.Close()
			}
		}()
		roots := x509.NewCertPool()
		roots.AddCert(own)
		dialer := &net.Dialer{Timeout: 10 * time.Second}
		connection, err := tls.DialWithDialer(dialer, "tcp", listener.Addr().String(),
			&tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: version})
		if err != nil {
			return err
		}
		said, err := io.ReadAll(connection)
		if err != nil || !bytes.Equal(said, message) {
			return fmt.Errorf("%q %v", said, err)
		}
		_ = listener.Close()
	}
	return nil
}

func requests(key crypto.Signer) error {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "requested"}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return err
	}
	request, err := x509.ParseCertificateRequest(der)
	must(err)
	return request.CheckSignature()
}

func keepsCertificate(context *crypto11.Context, key crypto.Signer) error {
	own, err := certificate(key)
	if err != nil {
		return err
	}
	if err := context.ImportCertificateWithLabel([]byte("e"), []byte("ec"), own); err != nil {
		return err
	}
	found, err := context.FindCertificate([]byte("e"), nil, nil)
	if err != nil || found == nil || !found.Equal(own) {
		return fmt.Errorf("found %v %v", found, err)
	}
	return context.DeleteCertificate([]byte("e"), nil, nil)
}

func encrypts(context *crypto11.Context) error {
	key, err := context.GenerateSecretKeyWithLabel([]byte("a"), []byte("aes"), 256, crypto11.CipherAES)
	if err != nil {
		return err
	}
	aead, err := key.NewGCM()
	if err != nil {
		return err
	}
	nonce := make([]byte, aead.NonceSize())
	secret := aead.Seal(nil, nonce, message, []byte("and this"))
	plain, err := aead.Open(nil, nonce, secret, []byte("and this"))
	if err != nil || !bytes.Equal(plain, message) {
		return fmt.Errorf("%q %v", plain, err)
	}
	if _, err := aead.Open(nil, nonce, secret, []byte("and that")); err == nil {
		return errors.New("any additional data passes")
	}
	blocks, err := key.NewCBCEncrypterCloser(make([]byte, 16))
	if err != nil {
		return err
	}
	first := make([]byte, 32)
	blocks.CryptBlocks(first[:16], message[:16])
	blocks.CryptBlocks(first[16:], message[:16])
	blocks.Close()
	back, err := key.NewCBCDecrypterCloser(make([]byte, 16))
	if err != nil {
		return err
	}
	again := make([]byte, 32)
	back.CryptBlocks(again, first)
	back.Close()
	if !bytes.Equal(again, append(message[:16:16], message[:16]...)) {
		return fmt.Errorf("%q", again)
	}
	return key.Delete()
}

func authenticates(context *crypto11.Context) error {
	key, err := context.GenerateSecretKeyWithLabel([]byte("h"), []byte("mac"), 256, crypto11.CipherGeneric)
	if err != nil {
		return err
	}
	const hmacSHA256 = 0x251
	var codes [2][]byte
	for round := range codes {
		hash, err := key.NewHMAC(hmacSHA256, 0)
		if err != nil {
			return err
		}
		if _, err := hash.Write(message); err != nil {
			return err
		}
		codes[round] = hash.Sum(nil)
	}
	if len(codes[0]) != 32 || !bytes.Equal(codes[0], codes[1]) {
		return fmt.Errorf("%x", codes)
	}
	return key.Delete()
}

func concurrently(rsaKey crypto11.Signer, ecKey crypto11.Signer) error {
	var group sync.WaitGroup
	errs := make(chan error, 64)
	for worker := 0; worker < 32; worker++ {
		group.Add(1)
		go func(own int) {
			defer group.Done()
			for round := 0; round < 5; round++ {
				digest := sum256([]byte{byte(own), byte(round)})
				if own%4 == 0 {
					signature, err := rsaKey.Sign(rand.Reader, digest, crypto.SHA256)
					if err == nil {
						err = rsa.VerifyPKCS1v15(rsaKey.Public().(*rsa.PublicKey), crypto.SHA256, digest, signature)
					}
					if err != nil {
						errs <- err
						return
					}
				} else if err := signsEC(ecKey, digest); err != nil {
					errs <- err
					return
				}
			}
		}(worker)
	}
	group.Wait()
	close(errs)
	return <-errs
}

func finds(context *crypto11.Context) error {
	key, err := context.FindKeyPair(nil, []byte("ec"))
	if err != nil || key == nil {
		return fmt.Errorf("found %v %v", key, err)
	}
	if err := signsEC(key, sum256(message)); err != nil {
		return err
	}
	all, err := context.FindAllKeyPairs()
	if err != nil || len(all) != 3 {
		return fmt.Errorf("found %d %v", len(all), err)
	}
	nobody, err := context.FindKeyPair(nil, []byte("nobody"))
	if err != nil || nobody != nil {
		return fmt.Errorf("found %v %v", nobody, err)
	}
	return nil
}
