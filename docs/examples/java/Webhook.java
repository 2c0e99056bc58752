// Verifies a webhook: its body is the input, its headers are in the environment as a web server hands them to a CGI program.
// Prints the event's type and the message's id; ends with 1 when the webhook is not the service's. Needs Java 17 or newer.

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.Base64;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Webhook {
    /** Throws unless the service sent it. The body is what came, byte for byte. */
    static void verify(String secret, String id, String timestamp, String signatures, byte[] body)
        throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(Base64.getDecoder().decode(secret.substring("whsec_".length())), "HmacSHA256"));
        mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
        byte[] wanted = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(StandardCharsets.UTF_8);
        boolean isOurs = false;
        // There may be several signatures, while one secret replaces another.
        for (String given : signatures.split(" ")) {
            isOurs |= MessageDigest.isEqual(wanted, given.getBytes(StandardCharsets.UTF_8));
        }
        if (!isOurs) {
            throw new GeneralSecurityException("the signature is wrong");
        }
        if (Math.abs(Instant.now().getEpochSecond() - Long.parseLong(timestamp)) > 300) {
            throw new GeneralSecurityException("the webhook is too old");
        }
    }

    /** The first text of that name: in your program a JSON library reads it. */
    static String field(String json, String name) {
        var found = Pattern.compile('"' + name + "\":\"([^\"]*)\"").matcher(json);
        return found.find() ? found.group(1) : "";
    }

    public static void main(String[] arguments) throws IOException {
        byte[] body = System.in.readAllBytes();
        try {
            verify(System.getenv("MAILWRIGHT_WEBHOOK_SECRET"), System.getenv("HTTP_WEBHOOK_ID"),
                System.getenv("HTTP_WEBHOOK_TIMESTAMP"), System.getenv("HTTP_WEBHOOK_SIGNATURE"), body);
        } catch (GeneralSecurityException | IllegalArgumentException why) {
            System.err.println(why.getMessage());
            System.exit(1);
        }
        String json = new String(body, StandardCharsets.UTF_8);
        System.out.println(field(json, "type") + " " + field(json, "message_id"));
    }
}
