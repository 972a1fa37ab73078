package keyward;

import java.io.Closeable;
import java.io.IOException;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLServerSocket;

/** A server and a client of one case in this JVM. Used by one thread at a time. */
final class Pair implements Closeable {
    private final Case one;
    private final SSLServerSocket listener;
    private final ExecutorService serverThread = Executors.newSingleThreadExecutor(task -> {
        Thread thread = new Thread(task, "server");
        thread.setDaemon(true);
        return thread;
    });

    Pair(Case one, SSLContext serverContext) throws IOException {
        this.one = one;
        this.listener = one.link.listen(serverContext);
    }

    /** What came of one connection. A side that did well has no error. */
    static final class Outcome {
        Link.Seen server;
        Link.Seen client;
        Exception serverError;
        Exception clientError;

        /** {@code ok}, {@code client-refuses}, {@code server-refuses}, or {@code failed} when it is neither's verdict. */
        String verdict() {
            if (serverError == null && clientError == null) {
                return "ok";
            }
            boolean clientRefuses = isVerdict(clientError);
            boolean serverRefuses = isVerdict(serverError);
            if (clientRefuses == serverRefuses) {
                return "failed";
            }
            return clientRefuses ? "client-refuses" : "server-refuses";
        }

        /** Whether the side itself rejected the peer's certificate, rather than heard of the other's verdict. */
        private static boolean isVerdict(Exception error) {
            if (!(error instanceof SSLException)) {
                return false;
            }
            for (Throwable e = error; e != null; e = e.getCause()) {
                if (e instanceof CertificateException) {
                    return true;
                }
            }
            // The client found no certificate of its own that the server would accept, and sent none. Java 8 and
            // 11 say "server" in that message; Java 25 puts the alert it sends before it.
            String message = String.valueOf(error.getMessage());
            return message.matches("(\\(\\w+\\) )?(Empty (client|server) certificate chain|null cert chain)");
        }
    }

    /** One connection: a full handshake and the echo, and the check that each side saw the other's own certificate. */
    Outcome connect() throws Exception {
        Outcome outcome = new Outcome();
        Future<Link.Seen> serving = serverThread.submit(() -> one.link.serve(listener.accept()));
        try {
            outcome.client = one.link.dial(one.clientContext(), listener.getLocalPort());
            check(outcome.client, one.server.certificate);
        } catch (IOException e) {
            outcome.clientError = e;
        }
        try {
            outcome.server = serving.get(60, TimeUnit.SECONDS);
            check(outcome.server, one.client.certificate);
        } catch (ExecutionException e) {
            outcome.serverError = e.getCause() instanceof Exception ? (Exception) e.getCause() : e;
        } catch (IOException | TimeoutException e) {
            outcome.serverError = e;
        }
        return outcome;
    }

    @Override
    public void close() throws IOException {
        listener.close();
        serverThread.shutdownNow();
    }

    private static void check(Link.Seen seen, X509Certificate wanted) throws IOException {
        if (!seen.peer.equals(wanted)) {
            throw new IOException("the peer showed the certificate of " + seen.peer.getSubjectX500Principal() + ", not of "
                    + wanted.getSubjectX500Principal());
        }
    }
}
