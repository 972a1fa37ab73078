package keyward;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.KeyStore;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Stores, truststores and cases, read from a text file. A line is a word and {@code key=value}
 * fields with blanks between them; {@code #} starts a comment. A {@code defaults} line gives fields to
 * the cases below it.
 *
 * <pre>
 * store    name=node1 library=/x/libkeyward_pkcs11.so slot=1 pin=1234
 * store    name=node2 file=/x/node2.p12 password=changeit
 * trust    name=root file=/x/trust.jks password=changeit
 * defaults server-trust=root client-trust=root kmf=SunX509 count=2
 * case     name=hello server=node1 client=node2 protocol=TLSv1.3 suite=TLS_AES_128_GCM_SHA256
 * </pre>
 */
final class Setup {
    final Map<String, KeyStore> trusts = new LinkedHashMap<>();
    final Map<String, Store> stores = new LinkedHashMap<>();
    final List<Case> cases = new ArrayList<>();

    /** Reads the file and opens all that it names, in its order. */
    static Setup read(String file) throws Exception {
        Setup setup = new Setup();
        Map<String, String> defaults = new LinkedHashMap<>();
        int number = 0;
        for (String line : Files.readAllLines(Paths.get(file), StandardCharsets.UTF_8)) {
            number++;
            if (line.trim().isEmpty() || line.trim().startsWith("#")) {
                continue;
            }
            try {
                setup.add(line.trim().split("\\s+"), defaults);
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException(file + ", line " + number + ": " + e.getMessage(), e);
            }
        }
        return setup;
    }

    Case named(String name) {
        for (Case one : cases) {
            if (one.name.equals(name)) {
                return one;
            }
        }
        throw new IllegalArgumentException("the file has no case '" + name + "'");
    }

    static String field(Map<String, String> fields, String name) {
        String value = fields.get(name);
        if (value == null) {
            throw new IllegalArgumentException("the field " + name + "= is missing");
        }
        return value;
    }

    private void add(String[] words, Map<String, String> defaults) throws Exception {
        Map<String, String> fields = fields(words);
        switch (words[0]) {
            case "store":
                stores.put(field(fields, "name"), Store.open(fields));
                return;
            case "trust":
                trusts.put(field(fields, "name"),
                        Store.loadFile(field(fields, "file"), field(fields, "password").toCharArray()));
                return;
            case "defaults":
                defaults.putAll(fields);
                return;
            case "case":
                Map<String, String> all = new LinkedHashMap<>(defaults);
                all.putAll(fields);
                cases.add(new Case(all, this));
                return;
            default:
                throw new IllegalArgumentException("'" + words[0] + "' is none of store, trust, defaults, case");
        }
    }

    private static Map<String, String> fields(String[] words) {
        Map<String, String> fields = new LinkedHashMap<>();
        for (int i = 1; i < words.length; i++) {
            int equals = words[i].indexOf('=');
            if (equals < 1) {
                throw new IllegalArgumentException("'" + words[i] + "' is not key=value");
            }
            fields.put(words[i].substring(0, equals), words[i].substring(equals + 1));
        }
        return fields;
    }

    private Setup() {}
}
