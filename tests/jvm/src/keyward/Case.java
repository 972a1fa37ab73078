package keyward;

import java.security.KeyStore;
import java.util.Map;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;

/** One combination of two keys, two truststores, protocol, suite and key manager, and what should come of it. */
final class Case {
    final String name;
    final Store server;
    final Store client;
    final Link link;
    final int count;
    final String expected;

    private final KeyManager[] serverKeys;
    private final KeyManager[] clientKeys;
    private final TrustManager[] serverTrust;
    private final TrustManager[] clientTrust;

    /**
     * @param fields name, server, client, server-trust, client-trust, protocol, suite; optional kmf (SunX509),
     *     count (1), bytes (65536), address (127.0.0.1), verify-client (false), expect (ok, client-refuses, server-refuses)
     */
    Case(Map<String, String> fields, Setup setup) throws Exception {
        name = Setup.field(fields, "name");
        server = known(setup.stores, Setup.field(fields, "server"));
        client = known(setup.stores, Setup.field(fields, "client"));
        link = new Link(
                fields.getOrDefault("address", "127.0.0.1"),
                Setup.field(fields, "protocol"),
                Setup.field(fields, "suite"),
                Integer.parseInt(fields.getOrDefault("bytes", "65536")),
                Boolean.parseBoolean(fields.get("verify-client")));
        count = Integer.parseInt(fields.getOrDefault("count", "1"));
        expected = fields.getOrDefault("expect", "ok");

        String algorithm = fields.getOrDefault("kmf", "SunX509");
        serverKeys = server.keyManagers(algorithm);
        clientKeys = client.keyManagers(algorithm);
        serverTrust = trustManagers(known(setup.trusts, Setup.field(fields, "server-trust")));
        clientTrust = trustManagers(known(setup.trusts, Setup.field(fields, "client-trust")));
    }

    SSLContext serverContext() throws Exception {
        return context(serverKeys, serverTrust);
    }

    /** A context without memory of earlier sessions: the handshake made with it is a full one. */
    SSLContext clientContext() throws Exception {
        return context(clientKeys, clientTrust);
    }

    static SSLContext context(KeyManager[] keys, TrustManager[] trust) throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys, trust, null);
        return context;
    }

    static TrustManager[] trustManagers(KeyStore trust) throws Exception {
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(trust);
        return factory.getTrustManagers();
    }

    private static <T> T known(Map<String, T> all, String name) {
        T one = all.get(name);
        if (one == null) {
            throw new IllegalArgumentException("no '" + name + "' among " + all.keySet());
        }
        return one;
    }
}
