package keyward;

import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.util.Collections;
import java.util.Date;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;

/**
 * Builds an SSLContext from the settings of cassandra.yaml, by the calls that Apache Cassandra 4 and DSE
 * make: key store by type, no provider named; expiry check of each alias; the JDK's default key manager.
 */
final class CassandraLike {
    /** The options that stand for the settings of the same names. */
    static final String USAGE =
            "\n  --keystore-type TYPE  PKCS11 or PKCS12 (PKCS11)"
                    + "\n  --keystore FILE       NONE, or a file, which PKCS11 ignores (NONE)"
                    + "\n  --keystore-password P the token's PIN, or the file's password"
                    + "\n  --truststore FILE     PKCS12 or JKS"
                    + "\n  --truststore-password P";

    private final String keystoreType;
    private final String keystore;
    private final char[] keystorePassword;
    private final KeyStore truststore;

    CassandraLike(String keystoreType, String keystore, String keystorePassword, KeyStore truststore) {
        this.keystoreType = keystoreType;
        this.keystore = keystore;
        this.keystorePassword = keystorePassword == null ? null : keystorePassword.toCharArray();
        this.truststore = truststore;
    }

    static CassandraLike of(Options options) throws Exception {
        KeyStore truststore =
                Store.loadFile(options.required("truststore"), options.required("truststore-password").toCharArray());
        return new CassandraLike(
                options.get("keystore-type", "PKCS11"),
                options.get("keystore", "NONE"),
                options.get("keystore-password", null),
                truststore);
    }

    /** What a node builds once and uses for all its connections. */
    static final class Managers {
        final KeyManager[] keys;
        final TrustManager[] trust;

        private Managers(KeyManager[] keys, TrustManager[] trust) {
            this.keys = keys;
            this.trust = trust;
        }

        SSLContext context() throws Exception {
            return Case.context(keys, trust);
        }
    }

    Managers managers() throws Exception {
        long start = System.nanoTime();
        KeyStore keyStore = KeyStore.getInstance(keystoreType);
        if (keystore.equals("NONE")) {
            keyStore.load(null, keystorePassword);
        } else {
            try (InputStream in = Files.newInputStream(Paths.get(keystore))) {
                keyStore.load(in, keystorePassword);
            }
        }
        checkExpiry(keyStore);
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(keyStore, keystorePassword);
        Out.record("keystore",
                "type", keystoreType,
                "provider", keyStore.getProvider().getName(),
                "key-manager", keys.getAlgorithm(),
                "aliases", Collections.list(keyStore.aliases()),
                "encoded", encoded(keyStore),
                "ms", Out.millis(System.nanoTime() - start));
        return new Managers(keys.getKeyManagers(), Case.trustManagers(truststore));
    }

    private void checkExpiry(KeyStore keyStore) throws Exception {
        for (String alias : Collections.list(keyStore.aliases())) {
            Certificate certificate = keyStore.getCertificate(alias);
            // Cassandra does not look for null here, and dies of an alias without a certificate.
            if (certificate.getType().equals("X.509")
                    && ((X509Certificate) certificate).getNotAfter().before(new Date())) {
                Out.record("expired", "alias", alias, "at", ((X509Certificate) certificate).getNotAfter());
            }
        }
    }

    /** "null" when no private key of the store can be read. */
    private String encoded(KeyStore keyStore) throws Exception {
        for (String alias : Store.keyAliases(keyStore)) {
            if (keyStore.getKey(alias, keystorePassword).getEncoded() != null) {
                return "present";
            }
        }
        return "null";
    }
}
