package keyward;

import java.security.KeyStore;

/** Copies the key and chain of PKCS12 files into tokens, one entry each. */
public final class KeyImport {
    private static final String USAGE = "usage: keyward.KeyImport --library FILE --pin PIN --password PASSWORD --entry SLOT=FILE...\n\n"
            + "  --library FILE        the PKCS#11 library\n"
            + "  --pin PIN             the user PIN of all tokens\n"
            + "  --password PASSWORD   of the files\n"
            + "  --entry SLOT=FILE     a slot id and a PKCS12 file with one key; repeatable";

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            char[] password = options.required("password").toCharArray();
            for (String entry : options.all("entry")) {
                String[] parts = entry.split("=", 2);
                Pkcs11 token = Pkcs11.of("import" + parts[0], options.required("library"), "slot=" + parts[0], options.required("pin"));
                KeyStore from = Store.loadFile(parts[1], password);
                String alias = Store.keyAlias(from, null);
                token.load().setKeyEntry(alias, from.getKey(alias, password), null, from.getCertificateChain(alias));
                Out.record("imported", "slot", parts[0], "alias", alias);
            }
            return true;
        });
    }

    private KeyImport() {}
}
