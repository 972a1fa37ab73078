package keyward;

import java.io.IOException;
import java.security.KeyStore;
import java.security.UnrecoverableKeyException;
import java.util.Collections;
import javax.security.auth.login.FailedLoginException;

/** A wrong PIN is told as such, and the right one works afterwards in the same JVM. */
public final class WrongPin {
    private static final String USAGE = "usage: keyward.WrongPin --library FILE --pin PIN --wrong-pin PIN [OPTION...]\n"
            + Pkcs11.USAGE
            + "\n  --wrong-pin PIN       what is tried first"
            + "\n  --times N             that many times (1)";

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            Pkcs11 token = Pkcs11.of(options);
            char[] wrong = options.required("wrong-pin").toCharArray();
            boolean good = true;
            for (int i = 0; i < options.integer("times", 1); i++) {
                good &= refused(token, wrong);
            }
            KeyStore keyStore = token.load();
            Out.record("loaded", "aliases", Collections.list(keyStore.aliases()));
            return good;
        });
    }

    private static boolean refused(Pkcs11 token, char[] wrong) throws Exception {
        try {
            token.load(wrong);
        } catch (IOException e) {
            boolean asExpected = isChain(e);
            Out.record("refused", "as-expected", asExpected, "error", Out.chain(e));
            return asExpected;
        }
        Out.record("refused", "as-expected", false, "error", "none: the wrong PIN was accepted");
        return false;
    }

    private static boolean isChain(IOException e) {
        Throwable unrecoverable = e.getCause();
        Throwable login = unrecoverable == null ? null : unrecoverable.getCause();
        Throwable pkcs11 = login == null ? null : login.getCause();
        return unrecoverable instanceof UnrecoverableKeyException
                && login instanceof FailedLoginException
                && pkcs11 != null
                && pkcs11.getClass().getSimpleName().equals("PKCS11Exception")
                && pkcs11.getMessage().contains("CKR_PIN_INCORRECT");
    }

    private WrongPin() {}
}
