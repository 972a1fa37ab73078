package keyward;

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.security.Key;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.Certificate;
import java.util.Arrays;
import java.util.Collections;

/**
 * The JDK's own keytool, many times in one JVM: its start takes longer than its work. Each line of
 * standard input is a command, its words separated by tabs.
 */
public final class Keytool {
    private static final String USAGE = "usage: keyward.Keytool [OPTION...]\n\n"
            + "  keytool WORD...                        as keytool is called\n"
            + "  property NAME VALUE                    a system property, or a security property\n"
            + "  password FILE TYPE STORE ALIAS OLD NEW give an entry a password of its own\n"
            + "  dump FILE TYPE STORE KEY               a record for each entry";

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            Method keytool = Class.forName("sun.security.tools.keytool.Main").getMethod("main", String[].class);
            BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                String[] words = line.split("\t", -1);
                String[] rest = Arrays.copyOfRange(words, 1, words.length);
                switch (words[0]) {
                    case "keytool":
                        // Its chatter goes elsewhere than the records.
                        PrintStream out = System.out;
                        System.setOut(System.err);
                        keytool.invoke(null, (Object) rest);
                        System.setOut(out);
                        break;
                    case "property":
                        System.setProperty(rest[0], rest[1]);
                        break;
                    case "password":
                        password(rest);
                        break;
                    case "dump":
                        dump(rest);
                        break;
                    default:
                        throw new IllegalArgumentException("no command " + words[0]);
                }
            }
            return true;
        });
    }

    private static void password(String[] words) throws Exception {
        KeyStore store = load(words);
        Key key = store.getKey(words[3], words[4].toCharArray());
        store.setKeyEntry(words[3], key, words[5].toCharArray(), store.getCertificateChain(words[3]));
        try (OutputStream file = new FileOutputStream(words[0])) {
            store.store(file, words[2].toCharArray());
        }
    }

    private static void dump(String[] words) throws Exception {
        KeyStore store = load(words);
        for (String alias : Collections.list(store.aliases())) {
            Key key = store.isKeyEntry(alias) ? store.getKey(alias, words[3].toCharArray()) : null;
            Certificate[] chain = store.getCertificateChain(alias);
            Out.record("entry",
                    "alias", alias,
                    "algorithm", key == null ? "" : key.getAlgorithm(),
                    "key", key == null ? "" : sha256(key.getEncoded()),
                    "chain", chain == null ? 0 : chain.length,
                    "certificate", store.getCertificate(alias) == null ? ""
                            : sha256(store.getCertificate(alias).getEncoded()));
        }
        Out.record("end", "java", System.getProperty("java.version"));
    }

    private static KeyStore load(String[] words) throws Exception {
        KeyStore store = KeyStore.getInstance(words[1]);
        try (InputStream file = new FileInputStream(words[0])) {
            store.load(file, words[2].toCharArray());
        }
        return store;
    }

    private static String sha256(byte[] bytes) throws Exception {
        StringBuilder digits = new StringBuilder();
        for (byte b : MessageDigest.getInstance("SHA-256").digest(bytes)) {
            digits.append(String.format("%02x", b));
        }
        return digits.toString();
    }
}
