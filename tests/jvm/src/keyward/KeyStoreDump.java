package keyward;

import java.security.Key;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.util.Collections;
import java.util.List;

/** A node's start, step by step: configure the provider, load the key store, take the keys. */
public final class KeyStoreDump {
    private static final String USAGE = "usage: keyward.KeyStoreDump --library FILE --pin PIN [OPTION...]\n"
            + Pkcs11.USAGE
            + "\n  --keys all|first|none  how many keys are taken (all)"
            + "\n  --quiet               no record for each entry"
            + "\n  --loads N             load that many times (1)"
            + "\n  --pause               wait for a line on standard input before the first step and after each";

    private final boolean pause;
    private long stepStart;

    private KeyStoreDump(boolean pause) {
        this.pause = pause;
    }

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            new KeyStoreDump(options.flag("pause")).run(options);
            return true;
        });
    }

    private void run(Options options) throws Exception {
        if (pause) {
            Out.pause("start");
        }
        begin();
        Pkcs11 token = Pkcs11.of(options);
        end("configure");

        KeyStore keyStore = null;
        for (int i = 0; i < options.integer("loads", 1); i++) {
            begin();
            keyStore = token.load();
            end("load");
        }

        begin();
        List<String> aliases = Collections.list(keyStore.aliases());
        int keys = takeKeys(keyStore, aliases, token.pin(), options.get("keys", "all"));
        end("getkey");

        for (String alias : options.flag("quiet") ? Collections.<String>emptyList() : aliases) {
            entry(keyStore, alias, token.pin(), !options.get("keys", "all").equals("none"));
        }
        Out.record("end", "java", System.getProperty("java.version"), "aliases", aliases.size(), "keys", keys);
    }

    private static int takeKeys(KeyStore keyStore, List<String> aliases, char[] pin, String which) throws Exception {
        int taken = 0;
        for (String alias : aliases) {
            if (which.equals("none") || (which.equals("first") && taken == 1)) {
                break;
            }
            if (keyStore.isKeyEntry(alias) && keyStore.getKey(alias, pin) != null) {
                taken++;
            }
        }
        return taken;
    }

    private static void entry(KeyStore keyStore, String alias, char[] pin, boolean withKey) throws Exception {
        Certificate certificate = keyStore.getCertificate(alias);
        Certificate[] chain = keyStore.getCertificateChain(alias);
        Key key = withKey && keyStore.isKeyEntry(alias) ? keyStore.getKey(alias, pin) : null;
        Out.record("entry",
                "alias", alias,
                "kind", keyStore.isKeyEntry(alias) ? "key" : "certificate",
                "class", key == null ? "" : key.getClass().getName(),
                "algorithm", key == null ? "" : key.getAlgorithm(),
                "encoded", key == null ? "" : key.getEncoded() == null ? "null" : "present",
                "chain", chain == null ? 0 : chain.length,
                "subject", certificate instanceof X509Certificate
                        ? ((X509Certificate) certificate).getSubjectX500Principal()
                        : "");
    }

    private void begin() {
        stepStart = System.nanoTime();
    }

    private void end(String step) throws Exception {
        Out.record("step", "name", step, "ms", Out.millis(System.nanoTime() - stepStart));
        if (pause) {
            Out.pause(step);
        }
    }
}
