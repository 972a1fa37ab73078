package keyward;

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Two nodes, each a JVM of its own (of this one's Java) with its own token, talk mutual TLS in both directions; then the speed
 * with the keys in the tokens beside the speed with keys of the same kind in PKCS12 files.
 */
public final class Demo {
    private static final String USAGE = "usage: keyward.Demo --library FILE --node1 SLOT --node2 SLOT --pin PIN"
            + " --truststore FILE --truststore-password P [OPTION...]\n\n"
            + "  --library FILE        the PKCS#11 library\n"
            + "  --node1 SLOT          the slot id of the first node's token\n"
            + "  --node2 SLOT          and of the second's\n"
            + "  --pin PIN             the user PIN of both\n"
            + "  --truststore FILE     PKCS12 or JKS\n"
            + "  --truststore-password P\n"
            + "  --key RSA|EC          the kind of key in the tokens: which suites can be shown (RSA)\n"
            + "  --node1-config FILE   KEYWARD_CONFIG of the first node (that of this process)\n"
            + "  --node2-config FILE   and of the second\n"
            + "  --file1 FILE          PKCS12 key stores for the comparison; without them there is none\n"
            + "  --file2 FILE\n"
            + "  --file-password P\n"
            + "  --rounds N            of the comparison, token and file in turn (10)\n"
            + "  --count N             handshakes of each in a round (40)\n"
            + "  --threads N           that dial at once (2)\n"
            + "  --keep-configs DIR    write the nodes' configuration files there and leave them";

    private static final List<String[]> RSA_SHOWN = Arrays.asList(
            new String[] {"TLSv1.3", "TLS_AES_256_GCM_SHA384"},
            new String[] {"TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
            new String[] {"TLSv1.2", "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"},
            new String[] {"TLSv1.2", "TLS_RSA_WITH_AES_128_CBC_SHA"});
    private static final List<String[]> EC_SHOWN = Arrays.asList(
            new String[] {"TLSv1.3", "TLS_AES_256_GCM_SHA384"},
            new String[] {"TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"});

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            boolean keep = options.flag("keep-configs");
            Path folder = keep
                    ? Files.createDirectories(Paths.get(options.required("keep-configs")))
                    : Files.createTempDirectory("keyward-demo-");
            List<Child> nodes = new ArrayList<>();
            try {
                nodes.add(new Child("node1", "1", options, folder));
                nodes.add(new Child("node2", "2", options, folder));
                return show(nodes.get(0), nodes.get(1), options) & compare(nodes.get(0), nodes.get(1), options);
            } finally {
                for (Child node : nodes) {
                    node.stop();
                }
                if (!keep) {
                    for (Path file : Arrays.asList(folder.resolve("node1.cfg"), folder.resolve("node1.security"),
                            folder.resolve("node2.cfg"), folder.resolve("node2.security"), folder)) {
                        Files.deleteIfExists(file);
                    }
                }
            }
        });
    }

    /** Each suite in both directions, one connection each after one that warms up. */
    private static boolean show(Child node1, Child node2, Options options) throws Exception {
        boolean good = true;
        for (String[] suite : shown(options)) {
            for (Child[] way : new Child[][] {{node1, node2}, {node2, node1}}) {
                int port = way[1].listen("main", suite);
                way[0].dial("main", port, suite, 1, 1);
                Map<String, String> seen = way[0].dial("main", port, suite, 1, 1);
                good &= seen.get("failed").equals("0");
                Out.record("handshake",
                        "from", way[0].name,
                        "to", way[1].name,
                        "protocol", seen.get("protocol"),
                        "suite", seen.get("suite"),
                        "peer", seen.get("peer"),
                        "ms", seen.get("mean-ms"),
                        "error", seen.get("error"));
            }
        }
        return good;
    }

    /** Token and file take turns in short rounds, first one then the other first, so that a slow spell of the machine hits both. */
    private static boolean compare(Child node1, Child node2, Options options) throws Exception {
        if (!options.flag("file1")) {
            return true;
        }
        int rounds = options.integer("rounds", 10);
        int count = options.integer("count", 40);
        int threads = options.integer("threads", 2);
        int failed = 0;
        for (String[] suite : shown(options).subList(0, 2)) {
            int tokenPort = node2.listen("main", suite);
            int filePort = node2.listen("file", suite);
            node1.dial("main", tokenPort, suite, 2 * count, threads);
            node1.dial("file", filePort, suite, 2 * count, threads);
            double tokenSeconds = 0;
            double fileSeconds = 0;
            List<Double> ratios = new ArrayList<>();
            for (int round = 0; round < rounds; round++) {
                boolean tokenFirst = round % 2 == 0;
                Map<String, String> first = node1.dial(
                        tokenFirst ? "main" : "file", tokenFirst ? tokenPort : filePort, suite, count, threads);
                Map<String, String> second = node1.dial(
                        tokenFirst ? "file" : "main", tokenFirst ? filePort : tokenPort, suite, count, threads);
                failed += Integer.parseInt(first.get("failed")) + Integer.parseInt(second.get("failed"));
                double token = Double.parseDouble((tokenFirst ? first : second).get("seconds"));
                double file = Double.parseDouble((tokenFirst ? second : first).get("seconds"));
                tokenSeconds += token;
                fileSeconds += file;
                ratios.add(file / token);
            }
            Collections.sort(ratios);
            int handshakes = rounds * count;
            Out.record("compare",
                    "protocol", suite[0],
                    "suite", suite[1],
                    "threads", threads,
                    "handshakes", handshakes,
                    "failed", failed,
                    "token-rate", handshakes / tokenSeconds,
                    "file-rate", handshakes / fileSeconds,
                    "ratio", fileSeconds / tokenSeconds,
                    "ratio-lowest", ratios.get(0),
                    "ratio-highest", ratios.get(ratios.size() - 1));
        }
        return failed == 0;
    }

    private static List<String[]> shown(Options options) {
        return options.get("key", "RSA").equals("EC") ? EC_SHOWN : RSA_SHOWN;
    }

    /** A node's process and the conversation with it. */
    private static final class Child {
        private static final int ANSWER_SECONDS = 120;

        final String name;

        private final Process process;
        private final BufferedWriter commands;
        private final BlockingQueue<String> records = new LinkedBlockingQueue<>();

        Child(String name, String number, Options options, Path folder) throws Exception {
            this.name = name;
            Path configuration = folder.resolve(name + ".cfg");
            Path override = folder.resolve(name + ".security");
            write(configuration, Pkcs11.configuration(
                    name, options.required("library"), "slot=" + options.required(name), Collections.emptyList()));
            write(override, Pkcs11.securityOverride(configuration));

            List<String> command = new ArrayList<>(Arrays.asList(
                    Paths.get(System.getProperty("java.home"), "bin", "java").toString(),
                    "-Djava.security.properties=" + override,
                    "-cp", System.getProperty("java.class.path"),
                    "keyward.Node",
                    "--name", name,
                    "--deadline", options.get("deadline", "300"),
                    "--keystore-password", options.required("pin"),
                    "--truststore", options.required("truststore"),
                    "--truststore-password", options.required("truststore-password")));
            if (options.flag("file" + number)) {
                command.addAll(Arrays.asList(
                        "--file", options.required("file" + number), "--file-password", options.required("file-password")));
            }
            ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
            if (options.flag(name + "-config")) {
                builder.environment().put("KEYWARD_CONFIG", options.required(name + "-config"));
            }
            process = builder.start();
            commands = new BufferedWriter(new OutputStreamWriter(process.getOutputStream(), StandardCharsets.UTF_8));
            Thread reader = new Thread(this::read, name);
            reader.setDaemon(true);
            reader.start();
            await("ready");
        }

        int listen(String keystore, String[] suite) throws Exception {
            send("listen " + keystore + " " + suite[0] + " " + suite[1]);
            return Integer.parseInt(await("listening").get("port"));
        }

        Map<String, String> dial(String keystore, int port, String[] suite, int count, int threads) throws Exception {
            send("dial " + keystore + " " + port + " " + suite[0] + " " + suite[1] + " " + count + " " + threads);
            return await("dialled");
        }

        /** Ends the process: its input ends, and a while later it is killed. */
        void stop() throws Exception {
            commands.close();
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                process.destroyForcibly().waitFor(10, TimeUnit.SECONDS);
            }
        }

        private void send(String command) throws IOException {
            commands.write(command + "\n");
            commands.flush();
        }

        /** The next record of that kind; others are passed on to standard output. */
        private Map<String, String> await(String kind) throws Exception {
            while (true) {
                String line = records.poll(ANSWER_SECONDS, TimeUnit.SECONDS);
                if (line == null) {
                    throw new IOException(name + " has not answered for " + ANSWER_SECONDS + " s");
                }
                if (line.isEmpty()) {
                    throw new IOException(name + " has ended; its message is above");
                }
                Map<String, String> fields = fields(line);
                if (kind.equals(fields.get("record"))) {
                    return fields;
                }
                System.out.println(line + (fields.containsKey("name") ? "" : "\tname=" + name));
            }
        }

        private void read() {
            try (BufferedReader in =
                    new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
                for (String line = in.readLine(); line != null; line = in.readLine()) {
                    records.add(line.isEmpty() ? " " : line);
                }
            } catch (IOException e) {
                System.err.println(name + " cannot be read: " + e.getMessage());
            }
            // An empty line stands for the end.
            records.add("");
        }

        private static Map<String, String> fields(String line) {
            Map<String, String> fields = new LinkedHashMap<>();
            for (String field : line.split("\t")) {
                int equals = field.indexOf('=');
                if (equals > 0) {
                    fields.put(field.substring(0, equals), field.substring(equals + 1));
                }
            }
            return fields;
        }

        private static void write(Path file, String text) throws IOException {
            Files.write(file, text.getBytes(StandardCharsets.UTF_8));
        }
    }

    private Demo() {}
}
