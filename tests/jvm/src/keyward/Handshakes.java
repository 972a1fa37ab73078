package keyward;

/** Runs the cases of a setup file, one after the other, in one JVM. */
public final class Handshakes {
    private static final String USAGE = "usage: keyward.Handshakes --setup FILE [OPTION...]\n"
            + "Mutual TLS between two key stores; the file's format is described in Setup.java.\n\n"
            + "  --setup FILE          stores, truststores and cases\n"
            + "  --pause               wait for a line on standard input before the first case and after each";

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            Setup setup = Setup.read(options.required("setup"));
            if (setup.cases.isEmpty()) {
                throw new IllegalArgumentException("the setup file has no case");
            }
            boolean pause = options.flag("pause");
            if (pause) {
                Out.pause("start");
            }
            int passed = 0;
            for (Case one : setup.cases) {
                passed += run(one) ? 1 : 0;
                if (pause) {
                    Out.pause(one.name);
                }
            }
            int failed = setup.cases.size() - passed;
            Out.record("end", "java", System.getProperty("java.version"), "passed", passed, "failed", failed);
            return failed == 0;
        });
    }

    private static boolean run(Case one) throws Exception {
        int asExpected = 0;
        Pair.Outcome outcome = null;
        Pair.Outcome unexpected = null;
        long start = System.nanoTime();
        try (Pair pair = new Pair(one, one.serverContext())) {
            for (int i = 0; i < one.count; i++) {
                outcome = pair.connect();
                if (outcome.verdict().equals(one.expected)) {
                    asExpected++;
                } else if (unexpected == null) {
                    unexpected = outcome;
                }
            }
        }
        long nanos = System.nanoTime() - start;
        boolean pass = asExpected == one.count;
        Pair.Outcome shown = pass ? outcome : unexpected;
        Out.record("case",
                "name", one.name,
                "pass", pass,
                "result", shown.verdict(),
                "expected", one.expected,
                "count", one.count,
                "failed", one.count - asExpected,
                "rate", one.count / Out.seconds(nanos),
                "protocol", one.link.protocol,
                "suite", one.link.suite,
                "server-subject", one.server.certificate.getSubjectX500Principal(),
                "client-subject", one.client.certificate.getSubjectX500Principal(),
                "server-error", shown.serverError == null ? "" : Out.chain(shown.serverError),
                "client-error", shown.clientError == null ? "" : Out.chain(shown.clientError));
        return pass;
    }

    private Handshakes() {}
}
