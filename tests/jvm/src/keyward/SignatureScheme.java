package keyward;

import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.security.spec.X509EncodedKeySpec;

/**
 * A signature algorithm by its JCA name; PSS as {@code RSASSA-PSS/SHA-256} (or 384, 512), salt as long
 * as the hash. It signs in a token, and verifies in the JDK's software, never in the token.
 */
final class SignatureScheme {
    final String name;

    private final String algorithm;
    private final PSSParameterSpec pss;

    SignatureScheme(String name) {
        this.name = name;
        if (!name.startsWith("RSASSA-PSS")) {
            algorithm = name;
            pss = null;
            return;
        }
        algorithm = "RSASSA-PSS";
        String hash = name.contains("/") ? name.substring(name.indexOf('/') + 1) : "SHA-256";
        int saltBytes = Integer.parseInt(hash.substring(hash.indexOf('-') + 1)) / 8;
        pss = new PSSParameterSpec(hash, "MGF1", new MGF1ParameterSpec(hash), saltBytes, 1);
    }

    byte[] sign(PrivateKey key, Provider token, byte[] message) throws GeneralSecurityException {
        Signature signature = prepared(Signature.getInstance(algorithm, token));
        signature.initSign(key);
        signature.update(message);
        return signature.sign();
    }

    boolean verify(PublicKey key, byte[] message, byte[] signed) throws GeneralSecurityException {
        String provider = softwareProvider(key);
        PublicKey software = KeyFactory.getInstance(key.getAlgorithm(), provider)
                .generatePublic(new X509EncodedKeySpec(key.getEncoded()));
        Signature signature = prepared(Signature.getInstance(algorithm, provider));
        signature.initVerify(software);
        signature.update(message);
        return signature.verify(signed);
    }

    private Signature prepared(Signature signature) throws GeneralSecurityException {
        if (pss != null) {
            signature.setParameter(pss);
        }
        return signature;
    }

    private static String softwareProvider(PublicKey key) {
        return key.getAlgorithm().equals("RSA") ? "SunRsaSign" : "SunEC";
    }
}
