package keyward;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.concurrent.ThreadLocalRandom;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;

/** How two sides talk: where, with which protocol and suite, and how many bytes they echo. */
final class Link {
    private static final int TIMEOUT_MILLIS = 30_000;

    final String address;
    final String protocol;
    final String suite;
    final int bytes;

    private final boolean verifyClient;

    Link(String address, String protocol, String suite, int bytes, boolean verifyClient) {
        this.address = address;
        this.protocol = protocol;
        this.suite = suite;
        this.bytes = bytes;
        this.verifyClient = verifyClient;
    }

    /** What one side saw of a handshake that worked. */
    static final class Seen {
        final String protocol;
        final String suite;
        final X509Certificate peer;
        /** From the TCP connection to the finished handshake. */
        final long handshakeNanos;

        private Seen(SSLSession session, long handshakeNanos) throws IOException {
            protocol = session.getProtocol();
            suite = session.getCipherSuite();
            peer = (X509Certificate) session.getPeerCertificates()[0];
            this.handshakeNanos = handshakeNanos;
        }
    }

    /** A listening socket on a free port that wants a client certificate. */
    SSLServerSocket listen(SSLContext context) throws IOException {
        SSLServerSocket socket = (SSLServerSocket)
                context.getServerSocketFactory().createServerSocket(0, 64, InetAddress.getByName(address));
        socket.setSoTimeout(TIMEOUT_MILLIS);
        SSLParameters parameters = parameters(verifyClient);
        parameters.setNeedClientAuth(true);
        socket.setSSLParameters(parameters);
        return socket;
    }

    /** The server's part of one connection: handshake, then send back what comes. */
    Seen serve(Socket accepted) throws IOException {
        try (SSLSocket socket = (SSLSocket) accepted) {
            Seen seen = handshake(socket);
            byte[] message = new byte[bytes];
            new DataInputStream(socket.getInputStream()).readFully(message);
            send(socket, message);
            return seen;
        }
    }

    /** The client's part: connect, handshake, verify the server's address, send bytes and check what comes back. */
    Seen dial(SSLContext context, int port) throws IOException {
        Socket plain = new Socket();
        try {
            plain.connect(new InetSocketAddress(InetAddress.getByName(address), port), TIMEOUT_MILLIS);
            try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(plain, address, port, true)) {
                socket.setSSLParameters(parameters(true));
                Seen seen = handshake(socket);
                byte[] message = new byte[bytes];
                ThreadLocalRandom.current().nextBytes(message);
                send(socket, message);
                byte[] answer = new byte[bytes];
                new DataInputStream(socket.getInputStream()).readFully(answer);
                if (!Arrays.equals(message, answer)) {
                    throw new IOException("the echo differs from what was sent");
                }
                return seen;
            }
        } finally {
            plain.close();
        }
    }

    private SSLParameters parameters(boolean verifyAddress) {
        SSLParameters parameters = new SSLParameters(new String[] {suite}, new String[] {protocol});
        if (verifyAddress) {
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
        }
        return parameters;
    }

    private Seen handshake(SSLSocket socket) throws IOException {
        socket.setTcpNoDelay(true);
        socket.setSoTimeout(TIMEOUT_MILLIS);
        long start = System.nanoTime();
        socket.startHandshake();
        Seen seen = new Seen(socket.getSession(), System.nanoTime() - start);
        if (!seen.protocol.equals(protocol) || !seen.suite.equals(suite)) {
            throw new IOException("negotiated " + seen.protocol + " " + seen.suite + ", wanted " + protocol + " " + suite);
        }
        return seen;
    }

    private static void send(SSLSocket socket, byte[] message) throws IOException {
        OutputStream out = socket.getOutputStream();
        out.write(message);
        out.flush();
    }
}
