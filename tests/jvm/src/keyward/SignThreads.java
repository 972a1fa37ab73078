package keyward;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.cert.Certificate;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;

/** Many threads sign with one private key of a token; each signature is verified in software. */
public final class SignThreads {
    private static final String USAGE = "usage: keyward.SignThreads --library FILE --pin PIN [OPTION...]\n"
            + Pkcs11.USAGE
            + "\n  --alias NAME          the key; not needed when there is only one"
            + "\n  --algorithms A,B      JCA names, PSS as RSASSA-PSS/SHA-256 (all that TLS uses with the key)"
            + "\n  --threads N           (64)"
            + "\n  --count N             signatures of each thread for each algorithm (20)"
            + "\n  --out DIR             write cert.pem and, of each algorithm, some N.ALGORITHM.msg and .sig"
            + "\n  --samples N           that many of each algorithm (8)"
            + "\n  --pause               wait for a line on standard input before signing and after";

    private final Pkcs11 token;
    private final PrivateKey privateKey;
    private final PublicKey publicKey;
    private final Path out;
    private final int samples;

    private SignThreads(Pkcs11 token, PrivateKey privateKey, Certificate certificate, Path out, int samples) {
        this.token = token;
        this.privateKey = privateKey;
        this.publicKey = certificate.getPublicKey();
        this.out = out;
        this.samples = samples;
    }

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            Pkcs11 token = Pkcs11.of(options);
            KeyStore keyStore = token.load();
            String alias = Store.keyAlias(keyStore, options.get("alias", null));
            Certificate certificate = keyStore.getCertificate(alias);
            Path out = options.flag("out") ? Paths.get(options.required("out")) : null;
            if (out != null) {
                Files.createDirectories(out);
                Files.write(out.resolve("cert.pem"), pem(certificate.getEncoded()).getBytes(StandardCharsets.US_ASCII));
            }
            PrivateKey key = Store.privateKey(keyStore, alias, token.pin());
            SignThreads program = new SignThreads(token, key, certificate, out, options.integer("samples", 8));
            String algorithms = options.get("algorithms", usual(key.getAlgorithm()));
            boolean pause = options.flag("pause");
            if (pause) {
                Out.pause("start");
            }
            boolean good = true;
            for (String algorithm : algorithms.split(",")) {
                good &= program.run(new SignatureScheme(algorithm), options.integer("threads", 64), options.integer("count", 20));
            }
            if (pause) {
                Out.pause("end");
            }
            return good;
        });
    }

    private boolean run(SignatureScheme scheme, int threads, int count) throws Exception {
        AtomicInteger next = new AtomicInteger();
        AtomicInteger bad = new AtomicInteger();
        Callable<Integer> work = () -> {
            SecureRandom random = new SecureRandom();
            int failures = 0;
            for (int i = 0; i < count; i++) {
                byte[] message = new byte[1 + random.nextInt(500)];
                random.nextBytes(message);
                try {
                    byte[] signature = scheme.sign(privateKey, token.provider, message);
                    if (!scheme.verify(publicKey, message, signature)) {
                        failures++;
                        Out.record("failure", "algorithm", scheme.name, "error", "the signature is wrong");
                    }
                    keep(next.getAndIncrement(), scheme, message, signature);
                } catch (Exception e) {
                    failures++;
                    Out.record("failure", "algorithm", scheme.name, "error", Out.chain(e));
                }
            }
            return failures;
        };
        List<Callable<Integer>> all = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
            all.add(work);
        }
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        long start = System.nanoTime();
        for (Future<Integer> one : pool.invokeAll(all)) {
            bad.addAndGet(one.get());
        }
        long nanos = System.nanoTime() - start;
        pool.shutdown();
        int total = threads * count;
        Out.record("signatures", "algorithm", scheme.name, "threads", threads, "done", total - bad.get(),
                "failed", bad, "rate", total / Out.seconds(nanos));
        return bad.get() == 0;
    }

    private void keep(int number, SignatureScheme scheme, byte[] message, byte[] signature) throws Exception {
        if (out == null || number >= samples) {
            return;
        }
        String name = number + "." + scheme.name.replace("/", "_");
        Files.write(out.resolve(name + ".msg"), message);
        Files.write(out.resolve(name + ".sig"), signature);
    }

    private static String usual(String keyAlgorithm) {
        return keyAlgorithm.equals("RSA")
                ? "SHA256withRSA,RSASSA-PSS/SHA-256,RSASSA-PSS/SHA-384"
                : "SHA256withECDSA,SHA384withECDSA";
    }

    private static String pem(byte[] der) {
        return "-----BEGIN CERTIFICATE-----\n"
                + Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(der)
                + "\n-----END CERTIFICATE-----\n";
    }
}
