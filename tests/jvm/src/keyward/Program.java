package keyward;

import java.security.Security;

/**
 * What every program here has in common: options, a deadline for the whole run, an exit status, and
 * an error that a person can read.
 *
 * <p>Exit status: 0 all went as expected, 1 it did not, 2 wrong options, 3 the deadline passed.
 */
final class Program {
    interface Body {
        /** Returns whether everything went as expected. */
        boolean run(Options options) throws Exception;
    }

    private static final String COMMON =
            "\n  --deadline SECONDS    give up after that time (300)\n  --help                show this text\n";

    static void run(String[] arguments, String usage, Body body) {
        Options options;
        try {
            options = new Options(arguments, usage + COMMON);
        } catch (IllegalArgumentException e) {
            die(2, e.getMessage() + "; see --help");
            return;
        }
        if (options.flag("help")) {
            System.out.print(usage + COMMON);
            System.exit(0);
        }
        allowOldSuites();
        boolean good = false;
        try {
            startDeadline(options.integer("deadline", 300));
            good = body.run(options);
        } catch (IllegalArgumentException e) {
            Out.record("error", "error", Out.chain(e));
            die(2, e.getMessage());
        } catch (Throwable e) {
            Out.record("error", "error", Out.chain(e));
            e.printStackTrace();
            die(1, Out.chain(e));
        }
        System.out.flush();
        System.exit(good ? 0 : 1);
    }

    /**
     * Lets JSSE negotiate TLS_RSA, DHE and CBC suites, which newer JDKs switch off. JSSE reads the
     * property once, so this comes before anything touches TLS.
     */
    private static void allowOldSuites() {
        Security.setProperty("jdk.tls.disabledAlgorithms", "SSLv3, RC4, DES, MD5withRSA");
    }

    private static void startDeadline(final int seconds) {
        Thread watchdog = new Thread(() -> {
            try {
                Thread.sleep(seconds * 1000L);
            } catch (InterruptedException e) {
                return;
            }
            System.err.println("error: not finished after " + seconds + " s; where each thread is:");
            Thread.getAllStackTraces().forEach((thread, frames) -> {
                System.err.println("  " + thread.getName());
                for (StackTraceElement frame : frames) {
                    System.err.println("      " + frame);
                }
            });
            Out.record("error", "error", "not finished after " + seconds + " s");
            System.out.flush();
            Runtime.getRuntime().halt(3);
        }, "deadline");
        watchdog.setDaemon(true);
        watchdog.start();
    }

    private static void die(int status, String message) {
        System.out.flush();
        System.err.println("error: " + message);
        System.exit(status);
    }

    private Program() {}
}
