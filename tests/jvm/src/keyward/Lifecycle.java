package keyward;

import java.nio.charset.StandardCharsets;
import java.security.Key;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.PublicKey;
import java.security.cert.Certificate;
import java.security.spec.AlgorithmParameterSpec;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.RSAKeyGenParameterSpec;
import java.util.Arrays;

/**
 * The life of keys through the provider: generated in the token or imported, stored with a chain, found
 * again, used, deleted. It needs a writable token and leaves it as it was.
 */
public final class Lifecycle {
    private static final String USAGE = "usage: keyward.Lifecycle --library FILE --pin PIN [OPTION...]\n"
            + Pkcs11.USAGE
            + "\n  --prefix NAME         the aliases begin with that (lifecycle)"
            + "\n  --keep                do not delete the entries";

    private static final byte[] MESSAGE = "the quick brown fox".getBytes(StandardCharsets.US_ASCII);

    private final Pkcs11 token;
    private final Certificates authority = new Certificates();
    private final boolean keep;

    private Lifecycle(Pkcs11 token, boolean keep) throws Exception {
        this.token = token;
        this.keep = keep;
    }

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            Lifecycle program = new Lifecycle(Pkcs11.of(options), options.flag("keep"));
            program.token.load();
            String prefix = options.get("prefix", "lifecycle");
            boolean good = true;
            for (Kind kind : Kind.values()) {
                good &= program.run("generate", kind, prefix + "-generated-" + kind.label);
                good &= program.run("import", kind, prefix + "-imported-" + kind.label);
            }
            return good;
        });
    }

    /** What is generated and imported. */
    private enum Kind {
        RSA("rsa", "RSA", "SunRsaSign", new RSAKeyGenParameterSpec(2048, RSAKeyGenParameterSpec.F4), "SHA256withRSA"),
        EC("ec", "EC", "SunEC", new ECGenParameterSpec("secp256r1"), "SHA256withECDSA");

        final String label;
        final String algorithm;
        final String software;
        final AlgorithmParameterSpec parameters;
        final SignatureScheme scheme;

        Kind(String label, String algorithm, String software, AlgorithmParameterSpec parameters, String scheme) {
            this.label = label;
            this.algorithm = algorithm;
            this.software = software;
            this.parameters = parameters;
            this.scheme = new SignatureScheme(scheme);
        }

        KeyPair generate(Provider provider) throws Exception {
            KeyPairGenerator generator = provider == null
                    ? KeyPairGenerator.getInstance(algorithm, software)
                    : KeyPairGenerator.getInstance(algorithm, provider);
            generator.initialize(parameters);
            return generator.generateKeyPair();
        }
    }

    private boolean run(String how, Kind kind, String alias) {
        String step = "generate";
        try {
            KeyPair pair = kind.generate(how.equals("generate") ? token.provider : null);
            if (how.equals("generate")) {
                step = "sign before it is stored";
                use(kind, pair.getPrivate(), pair.getPublic());
            }
            step = "setKeyEntry";
            Certificate[] chain = authority.chain("CN=" + alias, pair.getPublic());
            token.load().setKeyEntry(alias, pair.getPrivate(), token.pin(), chain);

            step = "getKey after another load";
            KeyStore keyStore = token.load();
            Key key = keyStore.getKey(alias, token.pin());
            require(key != null, "the entry is not there");
            require(key.getEncoded() == null, "the key can be read out of the token");
            require(Arrays.equals(chain, keyStore.getCertificateChain(alias)), "the chain differs from what was stored");
            step = "sign after it was stored";
            use(kind, (PrivateKey) key, pair.getPublic());

            if (!keep) {
                step = "deleteEntry";
                keyStore.deleteEntry(alias);
                require(!token.load().containsAlias(alias), "the entry is still there");
            }
            Out.record("life", "how", how, "alias", alias, "pass", true, "error", "");
            return true;
        } catch (Exception e) {
            Out.record("life", "how", how, "alias", alias, "pass", false, "error", step + ": " + Out.chain(e));
            return false;
        }
    }

    private void use(Kind kind, PrivateKey privateKey, PublicKey publicKey) throws Exception {
        byte[] signature = kind.scheme.sign(privateKey, token.provider, MESSAGE);
        require(kind.scheme.verify(publicKey, MESSAGE, signature), "the signature is wrong");
    }

    private static void require(boolean condition, String otherwise) {
        if (!condition) {
            throw new IllegalStateException(otherwise);
        }
    }
}
