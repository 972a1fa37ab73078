package keyward;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import javax.net.ssl.SSLContext;

/** Handshakes without a pause from several threads, while somebody else breaks the service. */
public final class HandshakeStream {
    private static final String USAGE = "usage: keyward.HandshakeStream --setup FILE --case NAME [OPTION...]\n"
            + "Repeats one case of a setup file until the time is over or a line comes on standard input.\n\n"
            + "  --setup FILE          as for keyward.Handshakes\n"
            + "  --case NAME           the case to repeat\n"
            + "  --threads N           that many at once (4)\n"
            + "  --seconds N           for that long at most (60)\n"
            + "  --progress-ms N       a progress record that often (200)\n"
            + "  --allow-failures      exit 0 though handshakes failed; no record of each of them\n"
            + "  --allocate            one more thread makes garbage; stall-ms is the longest time that it stood still";

    private final Case one;
    private final SSLContext serverContext;
    private final AtomicBoolean stop = new AtomicBoolean();
    private final AtomicLong done = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    private final AtomicLong slowestNanos = new AtomicLong();
    private final AtomicLong latelyNanos = new AtomicLong();
    private final AtomicLong stallNanos = new AtomicLong();
    private final boolean quiet;
    private final long start = System.nanoTime();
    private volatile Object garbage;

    private HandshakeStream(Case one, boolean quiet) throws Exception {
        this.one = one;
        this.quiet = quiet;
        this.serverContext = one.serverContext();
    }

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            Setup setup = Setup.read(options.required("setup"));
            HandshakeStream stream = new HandshakeStream(setup.named(options.required("case")), options.flag("allow-failures"));
            if (options.flag("allocate")) {
                stream.allocate();
            }
            stream.run(options.integer("threads", 4), options.integer("seconds", 60), options.integer("progress-ms", 200));
            return options.flag("allow-failures") || stream.failed.get() == 0;
        });
    }

    private void run(int threads, int seconds, int progressMillis) throws Exception {
        stopOnLine();
        List<Thread> running = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
            Thread thread = new Thread(this::repeat, "client-" + i);
            thread.start();
            running.add(thread);
        }
        long end = start + seconds * 1_000_000_000L;
        while (!stop.get() && System.nanoTime() < end) {
            Thread.sleep(progressMillis);
            report("progress");
        }
        stop.set(true);
        for (Thread thread : running) {
            thread.join();
        }
        report("end");
    }

    private void repeat() {
        try (Pair pair = new Pair(one, serverContext)) {
            while (!stop.get()) {
                long began = System.nanoTime();
                Pair.Outcome outcome = pair.connect();
                long took = System.nanoTime() - began;
                slowestNanos.accumulateAndGet(took, Math::max);
                latelyNanos.accumulateAndGet(took, Math::max);
                if (outcome.verdict().equals(one.expected)) {
                    done.incrementAndGet();
                } else {
                    fail(outcome.serverError, outcome.clientError);
                }
            }
        } catch (Exception e) {
            fail(null, e);
        }
    }

    private void fail(Exception server, Exception client) {
        failed.incrementAndGet();
        if (quiet) {
            return;
        }
        Out.record("failure",
                "ms", Out.millis(System.nanoTime() - start),
                "thread", Thread.currentThread().getName(),
                "server-error", server == null ? "" : Out.chain(server),
                "client-error", client == null ? "" : Out.chain(client));
    }

    private void report(String kind) {
        long nanos = System.nanoTime() - start;
        Out.record(kind,
                "ms", Out.millis(nanos),
                "done", done,
                "failed", failed,
                "rate", done.get() / Out.seconds(nanos),
                "slowest-ms", Out.millis(slowestNanos.get()),
                "slowest-lately-ms", Out.millis(latelyNanos.getAndSet(0)),
                "stall-ms", Out.millis(stallNanos.get()));
    }

    /** Garbage without a pause, so that collections are wanted all the time. */
    private void allocate() {
        Thread thread = new Thread(() -> {
            long last = System.nanoTime();
            while (true) {
                garbage = new byte[64 << 10];
                long now = System.nanoTime();
                stallNanos.accumulateAndGet(now - last, Math::max);
                last = now;
            }
        }, "garbage");
        thread.setDaemon(true);
        thread.start();
    }

    private void stopOnLine() {
        Thread reader = new Thread(() -> {
            try {
                if (Out.line() != null) {
                    stop.set(true);
                }
            } catch (IOException e) {
                System.err.println("standard input cannot be read: " + e.getMessage());
            }
        }, "stdin");
        reader.setDaemon(true);
        reader.start();
    }
}
