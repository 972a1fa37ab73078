package keyward;

import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.Key;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;

/** A key store with exactly one private key: a token, or a file for comparison. */
final class Store {
    final String name;
    final X509Certificate certificate;

    private final KeyStore keyStore;
    private final char[] password;
    private final boolean inToken;

    private Store(String name, KeyStore keyStore, char[] password, boolean inToken) throws Exception {
        this.name = name;
        this.keyStore = keyStore;
        this.password = password;
        this.inToken = inToken;
        this.certificate = (X509Certificate) keyStore.getCertificate(onlyKeyAlias());
    }

    /**
     * Opens the store of a {@code store} line and reports it.
     *
     * @param fields name and either library, slot or slot-index, pin; or file, password
     */
    static Store open(Map<String, String> fields) throws Exception {
        String name = Setup.field(fields, "name");
        long start = System.nanoTime();
        Store store = fields.containsKey("library") ? token(name, fields) : file(name, fields);
        String alias = store.onlyKeyAlias();
        Key key = store.keyStore.getKey(alias, store.password);
        boolean opaque = key.getEncoded() == null;
        Out.record("store",
                "name", name,
                "kind", store.inToken ? "pkcs11" : "file",
                "alias", alias,
                "key", key.getAlgorithm(),
                "encoded", opaque ? "null" : "present",
                "chain", store.keyStore.getCertificateChain(alias).length,
                "subject", store.certificate.getSubjectX500Principal(),
                "ms", Out.millis(System.nanoTime() - start));
        if (store.inToken && !opaque) {
            throw new IllegalStateException("the private key of '" + name + "' can be read out of its token, so that "
                    + "JSSE would sign in software; make it sensitive and not extractable");
        }
        return store;
    }

    /** Key managers of the named algorithm, SunX509 or PKIX. */
    KeyManager[] keyManagers(String algorithm) throws Exception {
        KeyManagerFactory factory = KeyManagerFactory.getInstance(algorithm);
        factory.init(keyStore, password);
        return factory.getKeyManagers();
    }

    /** The aliases of the private keys, sorted. */
    static List<String> keyAliases(KeyStore keyStore) throws Exception {
        List<String> aliases = new ArrayList<>();
        for (String alias : Collections.list(keyStore.aliases())) {
            if (keyStore.entryInstanceOf(alias, KeyStore.PrivateKeyEntry.class) || keyStore.isKeyEntry(alias)) {
                aliases.add(alias);
            }
        }
        Collections.sort(aliases);
        return aliases;
    }

    /** The named private key, or the only one there is when the alias is null. */
    static String keyAlias(KeyStore keyStore, String wanted) throws Exception {
        List<String> aliases = keyAliases(keyStore);
        if (wanted == null && aliases.size() != 1) {
            throw new IllegalStateException("one key entry is wanted, these are there: " + aliases + "; use --alias, or "
                    + "check that key and certificate have the same CKA_ID");
        }
        if (wanted != null && !aliases.contains(wanted)) {
            throw new IllegalStateException("there is no key entry '" + wanted + "', only " + aliases);
        }
        return wanted == null ? aliases.get(0) : wanted;
    }

    static PrivateKey privateKey(KeyStore keyStore, String alias, char[] password) throws Exception {
        return (PrivateKey) keyStore.getKey(alias, password);
    }

    /** A PKCS12 or JKS file; the type follows from the file's name. */
    static KeyStore loadFile(String file, char[] password) throws Exception {
        KeyStore keyStore = KeyStore.getInstance(file.endsWith(".jks") ? "JKS" : "PKCS12");
        try (InputStream in = Files.newInputStream(Paths.get(file))) {
            keyStore.load(in, password);
        }
        return keyStore;
    }

    private static Store token(String name, Map<String, String> fields) throws Exception {
        String slotLine = fields.containsKey("slot")
                ? "slot=" + fields.get("slot")
                : "slotListIndex=" + Setup.field(fields, "slot-index");
        Pkcs11 token = Pkcs11.of(name, fields.get("library"), slotLine, fields.get("pin"));
        return new Store(name, token.load(), token.pin(), true);
    }

    private static Store file(String name, Map<String, String> fields) throws Exception {
        char[] password = Setup.field(fields, "password").toCharArray();
        return new Store(name, loadFile(Setup.field(fields, "file"), password), password, false);
    }

    private String onlyKeyAlias() throws Exception {
        return keyAlias(keyStore, null);
    }
}
