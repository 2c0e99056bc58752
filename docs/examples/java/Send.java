// Sends a message, with the file of the first argument attached if there is one, and waits for what becomes of it.
// Prints the message's id and status; ends with 0 when it was delivered. Needs Java 17 or newer, and no library: java Send.java
// Its JSON is written and read by hand, to need none: in your program take the library that you have.

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;
import java.util.Set;
import java.util.UUID;
import java.util.regex.Pattern;

public class Send {
    static final String URL = System.getenv("MAILWRIGHT_URL");
    static final String KEY = System.getenv("MAILWRIGHT_KEY");
    static final Set<String> FINAL = Set.of("delivered", "partially_delivered", "failed", "cancelled");
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(URL + path))
            .timeout(Duration.ofSeconds(30))
            .header("Authorization", "Bearer " + KEY)
            .header("Content-Type", "application/json");
    }

    /** Sends a message once: what may have been lost on the way is repeated under the same key. Answers its id. */
    static String send(String message, String key) throws InterruptedException {
        String trouble = "";
        for (int wait : new int[] {1, 2, 4, 8, 0}) {
            long asked = wait;
            try {
                HttpRequest request = request("/v1/send").header("Idempotency-Key", key)
                    .POST(BodyPublishers.ofString(message)).build();
                HttpResponse<String> answer = CLIENT.send(request, BodyHandlers.ofString());
                if (answer.statusCode() == 202) {
                    return field(answer.body(), "id");
                }
                trouble = answer.body();
                if (answer.statusCode() != 429 && answer.statusCode() != 503) {
                    break;
                }
                asked = answer.headers().firstValueAsLong("Retry-After").orElse(wait);
            } catch (IOException error) {
                trouble = error.toString(); // no answer came
            }
            if (wait > 0) {
                Thread.sleep(1000 * asked);
            }
        }
        System.err.println("not sent: " + trouble);
        System.exit(1);
        return null;
    }

    /** The first text of that name, which is the message's own. */
    static String field(String json, String name) {
        var found = Pattern.compile('"' + name + "\":\"([^\"]*)\"").matcher(json);
        return found.find() ? found.group(1) : "";
    }

    /** A JSON string. */
    static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        String attachments = "";
        if (arguments.length > 0) {
            Path file = Path.of(arguments[0]);
            attachments = """
                , "attachments": [{"filename": %s, "content": "%s"}]""".formatted(
                quoted(file.getFileName().toString()), Base64.getEncoder().encodeToString(Files.readAllBytes(file)));
        }
        String message = """
            {"from": "Example Shop <shop@example.com>", "to": ["ada@example.net"], "subject": "Your receipt",
             "text": "Thank you for your order.", "tags": ["receipt"]%s}""".formatted(attachments);
        // The key names what the message is about, so that it is sent once: in your program the order's number, for example.
        String id = send(message, "example-" + UUID.randomUUID());

        String status = "";
        for (int tries = 0; tries < 120 && !FINAL.contains(status); tries++) {
            if (tries > 0) {
                Thread.sleep(500);
            }
            status = field(CLIENT.send(request("/v1/messages/" + id).build(), BodyHandlers.ofString()).body(), "status");
        }
        System.out.println(id + " " + status);
        System.exit(status.equals("delivered") ? 0 : 1);
    }
}
