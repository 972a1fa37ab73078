package keyward;

import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.AuthProvider;
import java.security.Key;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.Security;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.KeyStoreBuilderParameters;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.TrustManager;

/**
 * One JVM that does as it is told, line by line, so that the service can be stopped, started and
 * looked at between the steps. The provider is the one of the JVM's list, unless {@code provider} makes it.
 */
public final class Console {
    private static final String USAGE = "usage: keyward.Console [OPTION...]\n"
            + "Obeys lines on standard input; each is answered by one record of its own name, with ok=true, or\n"
            + "ok=false and error=..., and ends when there are no more:\n\n"
            + "  provider FILE WHERE               a SunPKCS11 of that configuration file, first or last in the list\n"
            + "  load PIN                          loads the key store; - for no PIN\n"
            + "  entry ALIAS                       class, encoded, chain; also takes the key for what follows\n"
            + "  services                          what the provider offers\n"
            + "  wrapper                           the class by which the provider calls the library; needs --add-opens\n"
            + "  tls [NAME [KMF]]                  makes TLS contexts of the key store; SunX509 unless another KMF is named\n"
            + "  handshake COUNT PROTOCOL SUITE [NAME]\n"
            + "                                    between these contexts, mutual, 127.0.0.1; peer= is the server's serial number\n"
            + "  stream PROTOCOL SUITE NAME        handshakes of these contexts one after the other, until\n"
            + "  unstream                          ends that; done= and failed= say how many there were\n"
            + "  sign SCHEME COUNT THREADS         with the key of the last entry; verified in software\n"
            + "  relay SCHEME COUNT                begun, fed and ended on three threads\n"
            + "  abandon SCHEME COUNT              begun and not ended\n"
            + "  store ALIAS                       a new software key and certificate into the key store\n"
            + "  logout                            of the provider\n"
            + "  lookups COUNT PIN                 KeyStore.getInstance and load, that many times; failed= says how often in vain\n"
            + "  busy THREADS                      signs on that many threads from now on\n"
            + "  exit                              System.exit, whatever runs\n\n"
            + "  --truststore FILE     for tls: JKS or PKCS12\n"
            + "  --truststore-password P";

    private final Options options;
    private Provider provider;
    private KeyStore keyStore;
    private char[] pin;
    private PrivateKey key;
    private Certificate certificate;
    private TrustManager[] trust;
    private final Map<String, Tls> contexts = new HashMap<>();
    private Stream stream;

    private Console(Options options) {
        this.options = options;
    }

    /** What one load of the key store was made into. */
    private static final class Tls {
        KeyManagerFactory keys;
        SSLContext server;
    }

    /** Handshakes that go on. */
    private static final class Stream {
        final AtomicBoolean stop = new AtomicBoolean();
        final Map<String, Object> told = new LinkedHashMap<>();
        Thread thread;
    }

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            Console console = new Console(options);
            Out.record("ready", "java", System.getProperty("java.version"));
            for (String line = Out.line(); line != null; line = Out.line()) {
                console.obey(line.trim().split("\\s+"));
            }
            return true;
        });
    }

    private void obey(String[] words) {
        Map<String, Object> told = new LinkedHashMap<>();
        Throwable error = null;
        long start = System.nanoTime();
        try {
            run(words, told);
        } catch (Exception | LinkageError e) {
            error = e;
        }
        List<Object> fields = new ArrayList<>(Arrays.asList(
                "ok", error == null, "ms", Out.millis(System.nanoTime() - start), "error", error == null ? "" : Out.chain(error)));
        told.forEach((name, value) -> fields.addAll(Arrays.asList(name, value)));
        Out.record(words[0], fields.toArray());
    }

    private void run(String[] words, Map<String, Object> told) throws Exception {
        switch (words[0]) {
            case "provider":
                provider = Pkcs11.ofFile(words[1], words[2].equals("first"));
                return;
            case "load":
                load(words[1]);
                told.put("provider", keyStore.getProvider().getName());
                told.put("aliases", new TreeSet<>(Collections.list(keyStore.aliases())));
                return;
            case "entry":
                entry(words[1], told);
                return;
            case "services":
                services(told);
                return;
            case "wrapper":
                java.lang.reflect.Field wrapper = provider().getClass().getDeclaredField("p11");
                wrapper.setAccessible(true);
                told.put("class", wrapper.get(provider()).getClass().getName());
                return;
            case "tls":
                tls(word(words, 1, "default"), word(words, 2, "SunX509"));
                return;
            case "handshake":
                Link link = new Link("127.0.0.1", words[2], words[3], 64, true);
                handshakes(Integer.parseInt(words[1]), link, word(words, 4, "default"), new AtomicBoolean(), told);
                return;
            case "stream":
                stream(new Link("127.0.0.1", words[1], words[2], 64, true), words[3]);
                return;
            case "unstream":
                stream.stop.set(true);
                stream.thread.join();
                told.putAll(stream.told);
                return;
            case "sign":
                sign(new SignatureScheme(words[1]), Integer.parseInt(words[2]), Integer.parseInt(words[3]), told);
                return;
            case "relay":
                relay(words[1], Integer.parseInt(words[2]));
                return;
            case "abandon":
                for (int i = 0; i < Integer.parseInt(words[2]); i++) {
                    Signature abandoned = Signature.getInstance(words[1], provider());
                    abandoned.initSign(key);
                    abandoned.update(new byte[20]);
                    abandoned.initSign(key);
                }
                return;
            case "store":
                Certificates authority = new Certificates();
                java.security.KeyPairGenerator generator = java.security.KeyPairGenerator.getInstance("EC", "SunEC");
                generator.initialize(256);
                java.security.KeyPair pair = generator.generateKeyPair();
                keyStore.setKeyEntry(words[1], pair.getPrivate(), pin, authority.chain("CN=" + words[1], pair.getPublic()));
                return;
            case "logout":
                ((AuthProvider) provider()).logout();
                return;
            case "lookups":
                lookups(Integer.parseInt(words[1]), words[2], told);
                return;
            case "busy":
                busy(Integer.parseInt(words[1]));
                return;
            case "exit":
                System.exit(0);
                return;
            default:
                throw new IllegalArgumentException("'" + words[0] + "' is no command; see --help");
        }
    }

    private void load(String word) throws Exception {
        pin = word.equals("-") ? null : word.toCharArray();
        KeyStore loaded = provider == null ? KeyStore.getInstance("PKCS11") : KeyStore.getInstance("PKCS11", provider);
        loaded.load(null, pin);
        keyStore = loaded;
    }

    private Provider provider() {
        return provider == null ? keyStore.getProvider() : provider;
    }

    private void entry(String alias, Map<String, Object> told) throws Exception {
        Key found = keyStore.getKey(alias, pin);
        Certificate[] chain = keyStore.getCertificateChain(alias);
        told.put("is-key", keyStore.isKeyEntry(alias));
        told.put("class", found == null ? "" : found.getClass().getName());
        told.put("algorithm", found == null ? "" : found.getAlgorithm());
        told.put("encoded", found == null || found.getEncoded() == null ? "null" : "present");
        told.put("text", found);
        List<String> subjects = new ArrayList<>();
        for (Certificate one : chain == null ? new Certificate[0] : chain) {
            subjects.add(((X509Certificate) one).getSubjectX500Principal().getName());
        }
        told.put("chain", String.join("; ", subjects));
        key = (PrivateKey) found;
        certificate = keyStore.getCertificate(alias);
    }

    private void services(Map<String, Object> told) {
        TreeSet<String> names = new TreeSet<>();
        for (Provider.Service service : provider().getServices()) {
            names.add(service.getType() + "." + service.getAlgorithm());
        }
        told.put("list", String.join(",", names));
    }

    private static String word(String[] words, int index, String otherwise) {
        return index < words.length ? words[index] : otherwise;
    }

    private void tls(String name, String algorithm) throws Exception {
        Tls made = new Tls();
        made.keys = KeyManagerFactory.getInstance(algorithm);
        if (algorithm.equals("SunX509")) {
            made.keys.init(keyStore, pin);
        } else {
            made.keys.init(new KeyStoreBuilderParameters(
                    KeyStore.Builder.newInstance(keyStore, new KeyStore.PasswordProtection(pin))));
        }
        trust = Case.trustManagers(Store.loadFile(
                options.required("truststore"), options.required("truststore-password").toCharArray()));
        made.server = Case.context(made.keys.getKeyManagers(), trust);
        contexts.put(name, made);
    }

    private void stream(Link link, String name) {
        Stream begun = new Stream();
        begun.thread = new Thread(() -> {
            try {
                handshakes(Integer.MAX_VALUE, link, name, begun.stop, begun.told);
            } catch (Exception e) {
                begun.told.put("first", Out.chain(e));
            }
        });
        begun.thread.start();
        stream = begun;
    }

    private void handshakes(int count, Link link, String name, AtomicBoolean stop, Map<String, Object> told)
            throws Exception {
        Tls tls = contexts.get(name);
        ExecutorService serving = Executors.newSingleThreadExecutor();
        int done = 0;
        int failed = 0;
        String peer = "";
        Exception error = null;
        try (SSLServerSocket listener = link.listen(tls.server)) {
            for (int i = 0; i < count && !stop.get(); i++) {
                Future<Link.Seen> seen = serving.submit(() -> link.serve(listener.accept()));
                Exception here = null;
                try {
                    Link.Seen dialled =
                            link.dial(Case.context(tls.keys.getKeyManagers(), trust), listener.getLocalPort());
                    peer = dialled.peer.getSerialNumber().toString(16);
                } catch (Exception e) {
                    here = e;
                }
                try {
                    seen.get(60, TimeUnit.SECONDS);
                } catch (Exception e) {
                    // What went wrong with the key stands on the side that has it.
                    here = e;
                }
                if (here == null) {
                    done++;
                } else {
                    failed++;
                    error = here;
                }
            }
        } finally {
            serving.shutdownNow();
        }
        told.put("done", done);
        told.put("failed", failed);
        told.put("peer", peer);
        if (error != null) {
            throw error;
        }
    }

    private void sign(SignatureScheme scheme, int count, int threads, Map<String, Object> told) throws Exception {
        List<Callable<Void>> all = new ArrayList<>();
        PrivateKey signer = key;
        Provider token = provider();
        for (int i = 0; i < threads; i++) {
            all.add(() -> {
                for (int j = 0; j < count; j++) {
                    byte[] message = Files.readAllBytes(Paths.get("/proc/self/stat"));
                    if (!scheme.verify(certificate.getPublicKey(), message, scheme.sign(signer, token, message))) {
                        throw new IllegalStateException("the signature is wrong");
                    }
                }
                return null;
            });
        }
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        int failed = 0;
        Exception error = null;
        for (Future<Void> one : pool.invokeAll(all)) {
            try {
                one.get();
            } catch (Exception e) {
                failed++;
                error = e;
            }
        }
        pool.shutdown();
        told.put("failed", failed);
        if (error != null) {
            throw error;
        }
    }

    private void relay(String algorithm, int count) throws Exception {
        byte[] message = new byte[1000];
        for (int i = 0; i < count; i++) {
            Signature signature = Signature.getInstance(algorithm, provider());
            onAThreadOfItsOwn(() -> {
                signature.initSign(key);
                return null;
            });
            onAThreadOfItsOwn(() -> {
                signature.update(message);
                return null;
            });
            byte[] signed = onAThreadOfItsOwn(signature::sign);
            if (!new SignatureScheme(algorithm).verify(certificate.getPublicKey(), message, signed)) {
                throw new IllegalStateException("the signature is wrong");
            }
        }
    }

    private static <T> T onAThreadOfItsOwn(Callable<T> work) throws Exception {
        ExecutorService one = Executors.newSingleThreadExecutor();
        try {
            return one.submit(work).get();
        } finally {
            one.shutdown();
        }
    }

    private void lookups(int count, String word, Map<String, Object> told) {
        int failed = 0;
        String last = "";
        for (int i = 0; i < count; i++) {
            try {
                load(word);
            } catch (Exception e) {
                failed++;
                last = Out.chain(e);
            }
        }
        told.put("failed", failed);
        told.put("last", last);
        told.put("providers", Security.getProviders().length);
    }

    private void busy(int threads) {
        PrivateKey signer = key;
        Provider token = provider();
        for (int i = 0; i < threads; i++) {
            new Thread(() -> {
                SignatureScheme scheme = new SignatureScheme(signer.getAlgorithm().equals("EC") ? "SHA256withECDSA" : "SHA256withRSA");
                while (true) {
                    try {
                        scheme.sign(signer, token, new byte[10]);
                    } catch (Exception e) {
                        System.err.println(Out.chain(e));
                    }
                }
            }).start();
        }
    }
}
