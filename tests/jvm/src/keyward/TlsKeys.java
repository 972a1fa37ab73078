package keyward;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.Provider;
import java.security.Security;
import java.security.spec.AlgorithmParameterSpec;
import java.util.Arrays;
import javax.crypto.Cipher;
import javax.crypto.KeyGenerator;
import javax.crypto.Mac;
import javax.crypto.SecretKey;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * What JSSE makes of a premaster secret, by the token and by the JDK's own provider: the same master
 * secret, keys, initialisation vectors and Finished messages.
 *
 * <p>The generators are the JDK's own business, so their parameters are reached by reflection:
 * {@code --add-exports java.base/sun.security.internal.spec=ALL-UNNAMED}.
 */
public final class TlsKeys {
    private static final String USAGE = "usage: keyward.TlsKeys --library FILE --pin PIN [OPTION...]\n"
            + Pkcs11.USAGE
            + "\n  --tls10               TLS 1.0 and 1.1 too";

    private static final byte[] CLIENT_RANDOM = filled(32, 1);
    private static final byte[] SERVER_RANDOM = filled(32, 2);
    private static final byte[] TEXT = filled(64, 3);

    private final Provider token;
    private final Provider own;
    private boolean good = true;

    private TlsKeys(Provider token, Provider own) {
        this.token = token;
        this.own = own;
    }

    public static void main(String[] arguments) {
        Program.run(arguments, USAGE, options -> {
            Pkcs11 pkcs11 = Pkcs11.of(options);
            pkcs11.load();
            TlsKeys keys = new TlsKeys(pkcs11.provider, Security.getProvider("SunJCE"));
            keys.compare("12", 3, "SHA-256", 32, 64);
            keys.compare("12", 3, "SHA-384", 48, 128);
            if (options.flag("tls10")) {
                keys.compare("", 1, "", 0, 0);
            }
            return keys.good;
        });
    }

    private void compare(String kind, int minor, String hash, int length, int block) throws Exception {
        Object[] prf = {hash, length, block};
        for (String algorithm : new String[] {"TlsRsaPremasterSecret", "TlsPremasterSecret"}) {
            byte[] premaster = filled(48, 4);
            premaster[0] = 3;
            premaster[1] = (byte) minor;
            SecretKey first = new SecretKeySpec(premaster, algorithm);
            SecretKey[] masters = new SecretKey[2];
            for (int side = 0; side < 2; side++) {
                masters[side] = generate(side, "SunTls" + kind + "MasterSecret", spec(
                        "TlsMasterSecretParameterSpec",
                        first, 3, minor, CLIENT_RANDOM, SERVER_RANDOM, prf[0], prf[1], prf[2]));
            }
            if (masters[0] == null) {
                return;
            }
            same("master", hash, masters[0].getEncoded(), masters[1].getEncoded());
            for (String label : new String[] {"client finished", "server finished"}) {
                byte[][] finished = new byte[2][];
                for (int side = 0; side < 2; side++) {
                    finished[side] = generate(side, "SunTls" + kind + "Prf", spec(
                                    "TlsPrfParameterSpec",
                                    masters[side], label, filled(32, 5), 12, prf[0], prf[1], prf[2]))
                            .getEncoded();
                }
                same(label, hash, finished[0], finished[1]);
            }
            for (boolean separate : new boolean[] {true, false}) {
                SecretKey[] material = new SecretKey[2];
                for (int side = 0; side < 2; side++) {
                    // Of a suite with a MAC, and of one whose cipher is enough.
                    material[side] = generate(side, "SunTls" + kind + "KeyMaterial", spec(
                            "TlsKeyMaterialParameterSpec",
                            masters[side], 3, minor, CLIENT_RANDOM, SERVER_RANDOM, "AES", 16, 0,
                            separate ? 16 : 4, separate ? 32 : 0, prf[0], prf[1], prf[2]));
                }
                for (String which : new String[] {"Client", "Server"}) {
                    if (separate) {
                        same("mac", hash, mac(token, part(material[0], which, "MacKey")),
                                mac(own, part(material[1], which, "MacKey")));
                    }
                    same("cipher", hash, cipher(token, part(material[0], which, "CipherKey")),
                            cipher(own, part(material[1], which, "CipherKey")));
                    same("iv", hash, iv(material[0], which), iv(material[1], which));
                }
            }
        }
        SecretKey premaster = generate(0, "SunTls" + kind + "RsaPremasterSecret",
                spec("TlsRsaPremasterSecretParameterSpec", 0x0300 + minor, 0x0300 + minor));
        byte[] encoded = premaster.getEncoded();
        same("premaster", hash, encoded == null ? null : Arrays.copyOf(encoded, 2), new byte[] {3, (byte) minor});
    }

    /** {@code null}: the provider has no such generator. */
    private SecretKey generate(int side, String algorithm, AlgorithmParameterSpec parameters) throws Exception {
        try {
            KeyGenerator generator = KeyGenerator.getInstance(algorithm, side == 0 ? token : own);
            generator.init(parameters);
            return generator.generateKey();
        } catch (NoSuchAlgorithmException e) {
            Out.record("absent", "algorithm", algorithm);
            return null;
        }
    }

    /** What a sensitive key does not show is no difference. */
    private void same(String what, String hash, byte[] one, byte[] other) {
        boolean same = one == null || MessageDigest.isEqual(one, other);
        good &= same;
        Out.record("compared", "what", what, "hash", hash, "readable", one != null, "same", same);
    }

    private static byte[] mac(Provider provider, SecretKey key) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256", provider);
        mac.init(key);
        return mac.doFinal(TEXT);
    }

    private static byte[] cipher(Provider provider, SecretKey key) throws Exception {
        Cipher cipher = Cipher.getInstance("AES/CBC/NoPadding", provider);
        cipher.init(Cipher.ENCRYPT_MODE, key, new IvParameterSpec(filled(16, 6)));
        return cipher.doFinal(TEXT);
    }

    private static byte[] iv(SecretKey material, String which) throws Exception {
        return ((IvParameterSpec) get(material, "get" + which + "Iv")).getIV();
    }

    private static SecretKey part(SecretKey material, String which, String name) throws Exception {
        return (SecretKey) get(material, "get" + which + name);
    }

    private static Object get(Object of, String getter) throws Exception {
        return of.getClass().getMethod(getter).invoke(of);
    }

    /** A parameter by the one constructor that takes so many arguments. */
    private static AlgorithmParameterSpec spec(String name, Object... arguments) throws Exception {
        for (java.lang.reflect.Constructor<?> constructor
                : Class.forName("sun.security.internal.spec." + name).getConstructors()) {
            if (constructor.getParameterCount() == arguments.length) {
                return (AlgorithmParameterSpec) constructor.newInstance(arguments);
            }
        }
        throw new NoSuchMethodException(name);
    }

    private static byte[] filled(int length, int value) {
        byte[] bytes = new byte[length];
        Arrays.fill(bytes, (byte) value);
        return bytes;
    }
}
