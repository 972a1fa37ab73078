package keyward;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.Provider;
import java.security.Security;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/** One SunPKCS11 provider over one slot of one PKCS#11 library. */
final class Pkcs11 {
    /** The options by which a program that works on one token finds it. */
    static final String USAGE =
            "\n  --library FILE        the PKCS#11 library"
                    + "\n  --slot ID             the token's slot id, or"
                    + "\n  --slot-index N        its place in the list of slots (0)"
                    + "\n  --pin PIN             the user PIN; without it none is sent"
                    + "\n  --attributes LINE     a line for the provider's configuration; repeatable"
                    + "\n  --first               the provider goes first in the JVM's list, not last";

    final Provider provider;

    private final char[] pin;

    private Pkcs11(Provider provider, String pin) {
        this.provider = provider;
        this.pin = pin == null ? null : pin.toCharArray();
    }

    /** Configures and registers the token that the options of {@link #USAGE} name. */
    static Pkcs11 of(Options options) throws Exception {
        String slot = options.get("slot", null);
        String configuration = configuration(
                "keyward",
                options.required("library"),
                slot != null ? "slot=" + slot : "slotListIndex=" + options.get("slot-index", "0"),
                options.all("attributes"));
        return register(configuration, options.get("pin", null), options.flag("first"));
    }

    /** Registers a provider named {@code SunPKCS11-NAME}, last in the JVM's list. */
    static Pkcs11 of(String name, String library, String slotLine, String pin) throws Exception {
        return register(configuration(name, library, slotLine, Collections.emptyList()), pin, false);
    }

    /** Registers the provider of a configuration file. */
    static Provider ofFile(String file, boolean first) throws Exception {
        try {
            return add(instantiate(file), first);
        } catch (InvocationTargetException e) {
            throw new IOException("the provider does not start with " + file, e.getCause());
        }
    }

    /** The text of a SunPKCS11 configuration file. */
    static String configuration(String name, String library, String slotLine, List<String> more) {
        StringBuilder text = new StringBuilder();
        text.append("name=").append(name).append('\n');
        text.append("library=").append(library).append('\n');
        text.append(slotLine).append('\n');
        text.append("showInfo=false\n");
        for (String line : more) {
            text.append(line).append('\n');
        }
        return text.toString();
    }

    /**
     * The text of a file for {@code -Djava.security.properties=FILE} that adds the provider at the
     * end of this JDK's list.
     */
    static String securityOverride(Path configurationFile) {
        int number = 1;
        while (Security.getProperty("security.provider." + number) != null) {
            number++;
        }
        String provider = isJava8() ? "sun.security.pkcs11.SunPKCS11" : "SunPKCS11";
        return "security.provider." + number + "=" + provider + " " + configurationFile + "\n";
    }

    /** Logs in and reads the token. */
    KeyStore load() throws Exception {
        return load(pin);
    }

    KeyStore load(char[] pin) throws Exception {
        KeyStore keyStore = KeyStore.getInstance("PKCS11", provider);
        keyStore.load(null, pin);
        return keyStore;
    }

    char[] pin() {
        return pin == null ? null : pin.clone();
    }

    private static Pkcs11 register(String configuration, String pin, boolean first) throws Exception {
        Path file = Files.createTempFile("keyward-", ".cfg");
        try {
            Files.write(file, configuration.getBytes(StandardCharsets.UTF_8));
            return new Pkcs11(add(instantiate(file.toString()), first), pin);
        } catch (InvocationTargetException e) {
            throw new IOException(
                    "the provider does not start with this configuration: "
                            + configuration.trim().replace("\n", ", "),
                    e.getCause());
        } finally {
            Files.delete(file);
        }
    }

    private static Provider add(Provider provider, boolean first) {
        if (first) {
            Security.insertProviderAt(provider, 1);
        } else {
            Security.addProvider(provider);
        }
        return provider;
    }

    /** {@code Provider.configure} came with Java 9; before, the constructor took the file. */
    private static Provider instantiate(String file) throws Exception {
        if (isJava8()) {
            return (Provider) Class.forName("sun.security.pkcs11.SunPKCS11")
                    .getConstructor(String.class)
                    .newInstance(file);
        }
        Provider unconfigured = Security.getProvider("SunPKCS11");
        if (unconfigured == null) {
            throw new IOException("this JDK has no SunPKCS11 provider in its list: "
                    + Arrays.toString(Security.getProviders()));
        }
        return (Provider) Provider.class.getMethod("configure", String.class).invoke(unconfigured, file);
    }

    private static boolean isJava8() {
        return System.getProperty("java.specification.version").equals("1.8");
    }
}
