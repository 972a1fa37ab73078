package keyward;

import java.io.IOException;
import java.net.Socket;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;

/**
 * One node of a cluster: makes its TLS from the settings of cassandra.yaml, listens for its peers and dials
 * them. The provider comes from {@code -Djava.security.properties=FILE}, not from code.
 *
 * <p>It prints {@code record=ready}, then obeys lines on standard input, and ends when that ends:
 *
 * <pre>
 * listen KEYSTORE PROTOCOL SUITE                  -> record=listening port=...
 * dial KEYSTORE PORT PROTOCOL SUITE COUNT THREADS -> record=dialled done=... seconds=...
 * </pre>
 *
 * KEYSTORE is {@code main}, or {@code file} for the second key store that serves the comparison.
 */
public final class Node {
    private static final String USAGE = "usage: keyward.Node --name NAME --truststore FILE --truststore-password P [OPTION...]\n\n"
            + "  --name NAME           in the records (node)"
            + CassandraLike.USAGE
            + "\n  --file FILE           a PKCS12 key store for comparison"
            + "\n  --file-password P"
            + "\n  --bytes N             echoed on each connection (1024)";

    private static final String ADDRESS = "127.0.0.1";

    private final String name;
    private final int bytes;
    private final Map<String, CassandraLike.Managers> managers = new LinkedHashMap<>();
    private final ExecutorService connections = Executors.newCachedThreadPool();

    private Node(String name, int bytes) {
        this.name = name;
        this.bytes = bytes;
    }

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            Node node = new Node(options.get("name", "node"), options.integer("bytes", 1024));
            node.managers.put("main", CassandraLike.of(options).managers());
            if (options.flag("file")) {
                CassandraLike file = new CassandraLike(
                        "PKCS12",
                        options.required("file"),
                        options.required("file-password"),
                        Store.loadFile(options.required("truststore"), options.required("truststore-password").toCharArray()));
                node.managers.put("file", file.managers());
            }
            Out.record("ready", "name", node.name, "java", System.getProperty("java.version"));
            for (String line = Out.line(); line != null; line = Out.line()) {
                node.obey(line.trim().split("\\s+"));
            }
            return true;
        });
    }

    private void obey(String[] words) throws Exception {
        switch (words[0]) {
            case "listen":
                listen(words[1], link(words[2], words[3]));
                return;
            case "dial":
                dial(words[1], Integer.parseInt(words[2]), link(words[3], words[4]), Integer.parseInt(words[5]),
                        Integer.parseInt(words[6]));
                return;
            default:
                throw new IllegalArgumentException("'" + words[0] + "' is none of listen, dial");
        }
    }

    /** Cassandra's internode encryption verifies the peer's address on both sides. */
    private Link link(String protocol, String suite) {
        return new Link(ADDRESS, protocol, suite, bytes, true);
    }

    private void listen(String keystore, Link link) throws Exception {
        SSLServerSocket listener = link.listen(managers.get(keystore).context());
        listener.setSoTimeout(0);
        Thread thread = new Thread(() -> accept(listener, link), "accept");
        thread.setDaemon(true);
        thread.start();
        Out.record("listening", "name", name, "keystore", keystore, "port", listener.getLocalPort());
    }

    private void accept(SSLServerSocket listener, Link link) {
        try {
            while (true) {
                Socket accepted = listener.accept();
                connections.submit(() -> {
                    try {
                        link.serve(accepted);
                    } catch (IOException e) {
                        Out.record("failure", "name", name, "side", "server", "error", Out.chain(e));
                    }
                });
            }
        } catch (IOException e) {
            Out.record("failure", "name", name, "side", "accept", "error", Out.chain(e));
        }
    }

    private void dial(String keystore, int port, Link link, int count, int threads) throws Exception {
        CassandraLike.Managers own = managers.get(keystore);
        List<Future<Link.Seen>> all = new ArrayList<>();
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        long start = System.nanoTime();
        for (int i = 0; i < count; i++) {
            // A new context knows no session to resume: each handshake is a full one.
            all.add(pool.submit(() -> link.dial(own.context(), port)));
        }
        Link.Seen seen = null;
        Exception error = null;
        int failed = 0;
        long handshakeNanos = 0;
        for (Future<Link.Seen> one : all) {
            try {
                seen = one.get(60, TimeUnit.SECONDS);
                handshakeNanos += seen.handshakeNanos;
            } catch (Exception e) {
                error = e;
                failed++;
            }
        }
        long nanos = System.nanoTime() - start;
        pool.shutdown();
        Out.record("dialled",
                "name", name,
                "keystore", keystore,
                "protocol", link.protocol,
                "suite", link.suite,
                "peer", seen == null ? "" : seen.peer.getSubjectX500Principal(),
                "done", count - failed,
                "failed", failed,
                "seconds", Out.seconds(nanos),
                "mean-ms", count == failed ? 0.0 : Out.millis(handshakeNanos / (count - failed)),
                "error", error == null ? "" : Out.chain(error));
    }
}
