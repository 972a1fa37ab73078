package keyward;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.text.SimpleDateFormat;
import java.util.Date;
import java.util.Locale;
import java.util.TimeZone;
import javax.security.auth.x500.X500Principal;

/** A small certification authority with a P-256 key in software, because JCA has no public API that makes certificates. */
final class Certificates {
    private static final long DAY_MILLIS = 86_400_000L;
    private static final byte[] ECDSA_WITH_SHA256 =
            sequence(tagged(0x06, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
    private static final byte[] CA_EXTENSION = tagged(0xa3, sequence(sequence(
            tagged(0x06, 0x55, 0x1d, 0x13), tagged(0x01, 0xff), tagged(0x04, sequence(tagged(0x01, 0xff))))));

    final X509Certificate root;

    private final KeyPair keys;
    private final X500Principal name = new X500Principal("CN=Keyward test CA");

    Certificates() throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC", "SunEC");
        generator.initialize(256);
        keys = generator.generateKeyPair();
        root = issue(name, keys.getPublic(), CA_EXTENSION);
    }

    /** The chain of a new certificate for the key: leaf, root. */
    Certificate[] chain(String subject, PublicKey key) throws Exception {
        return new Certificate[] {issue(new X500Principal(subject), key, new byte[0]), root};
    }

    private X509Certificate issue(X500Principal subject, PublicKey key, byte[] extensions) throws Exception {
        long now = System.currentTimeMillis();
        byte[] body = sequence(
                tagged(0xa0, tagged(0x02, 0x02)),
                tagged(0x02, new BigInteger(63, new SecureRandom()).toByteArray()),
                ECDSA_WITH_SHA256,
                name.getEncoded(),
                sequence(time(now - DAY_MILLIS), time(now + 30 * DAY_MILLIS)),
                subject.getEncoded(),
                key.getEncoded(),
                extensions);
        Signature signature = Signature.getInstance("SHA256withECDSA", "SunEC");
        signature.initSign(keys.getPrivate());
        signature.update(body);
        byte[] certificate =
                sequence(body, ECDSA_WITH_SHA256, tagged(0x03, join(new byte[] {0}, signature.sign())));
        return (X509Certificate) CertificateFactory.getInstance("X.509")
                .generateCertificate(new ByteArrayInputStream(certificate));
    }

    private static byte[] time(long millis) {
        SimpleDateFormat format = new SimpleDateFormat("yyMMddHHmmss'Z'", Locale.ROOT);
        format.setTimeZone(TimeZone.getTimeZone("UTC"));
        return tagged(0x17, format.format(new Date(millis)).getBytes(StandardCharsets.US_ASCII));
    }

    private static byte[] sequence(byte[]... parts) {
        return tagged(0x30, join(parts));
    }

    private static byte[] tagged(int tag, int... content) {
        byte[] bytes = new byte[content.length];
        for (int i = 0; i < content.length; i++) {
            bytes[i] = (byte) content[i];
        }
        return tagged(tag, bytes);
    }

    /** DER: tag, length, content. */
    private static byte[] tagged(int tag, byte[] content) {
        int length = content.length;
        byte[] head;
        if (length < 0x80) {
            head = new byte[] {(byte) tag, (byte) length};
        } else if (length < 0x100) {
            head = new byte[] {(byte) tag, (byte) 0x81, (byte) length};
        } else {
            head = new byte[] {(byte) tag, (byte) 0x82, (byte) (length >> 8), (byte) length};
        }
        return join(head, content);
    }

    private static byte[] join(byte[]... parts) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            all.write(part, 0, part.length);
        }
        return all.toByteArray();
    }
}
