// Sends mail with Jakarta Mail. Prints a line of JSON for each case.

import com.sun.mail.smtp.SMTPAddressFailedException;
import com.sun.mail.smtp.SMTPSendFailedException;
import com.sun.mail.smtp.SMTPSenderFailedException;
import jakarta.activation.DataHandler;
import jakarta.mail.Address;
import jakarta.mail.Authenticator;
import jakarta.mail.Message.RecipientType;
import jakarta.mail.MessagingException;
import jakarta.mail.PasswordAuthentication;
import jakarta.mail.SendFailedException;
import jakarta.mail.Session;
import jakarta.mail.Transport;
import jakarta.mail.internet.InternetAddress;
import jakarta.mail.internet.MimeBodyPart;
import jakarta.mail.internet.MimeMessage;
import jakarta.mail.internet.MimeMultipart;
import jakarta.mail.util.ByteArrayDataSource;
import java.io.FileInputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class JakartaMail {
    interface Case {
        String run() throws Exception;
    }

    static final String PLAIN = System.getenv("SMTP_PLAIN_PORT");
    static final String STARTTLS = System.getenv("SMTP_STARTTLS_PORT");
    static final String TLS = System.getenv("SMTP_TLS_PORT");
    static final String KEY = System.getenv("SMTP_KEY");
    static final String TOKEN = System.getenv().getOrDefault("SMTP_TOKEN", "");
    static final String ANN = "ann@example.net";
    static final String ACCEPTED = "\"outcome\": \"accepted\"";

    /** Trusts the one authority. */
    static SSLContext trust() throws Exception {
        KeyStore authorities = KeyStore.getInstance(KeyStore.getDefaultType());
        authorities.load(null, null);
        try (FileInputStream pem = new FileInputStream(System.getenv("SMTP_CA"))) {
            authorities.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(authorities);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    static Properties properties(String port) throws Exception {
        Properties properties = new Properties();
        properties.put("mail.smtp.host", System.getenv("SMTP_HOST"));
        properties.put("mail.smtp.port", port);
        properties.put("mail.smtp.auth", "true");
        properties.put("mail.smtp.starttls.enable", String.valueOf(port.equals(STARTTLS)));
        properties.put("mail.smtp.starttls.required", String.valueOf(port.equals(STARTTLS)));
        properties.put("mail.smtp.ssl.enable", String.valueOf(port.equals(TLS)));
        properties.put("mail.smtp.ssl.checkserveridentity", "true");
        properties.put("mail.smtp.ssl.socketFactory", trust().getSocketFactory());
        return properties;
    }

    static Session session(Properties properties, String password) {
        Session session = Session.getInstance(properties, new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(System.getenv("SMTP_USER"), password);
            }
        });
        session.setDebugOut(System.err);
        session.setDebug(System.getenv("SMTP_DEBUG") != null);
        return session;
    }

    static MimeMessage message(Session session, String subject, String... to) throws Exception {
        MimeMessage message = new MimeMessage(session);
        message.setFrom(new InternetAddress("shop@example.org", "Jürgen Müller", "UTF-8"));
        for (String address : to) {
            message.addRecipient(RecipientType.TO, new InternetAddress(address));
        }
        message.setSubject("java " + subject, "UTF-8");
        message.setSentDate(new Date());
        message.setText("Hello\n", "UTF-8");
        return message;
    }

    static String send(Session session, String subject, String... to) throws Exception {
        Transport.send(message(session, subject, to));
        return ACCEPTED;
    }

    static String text(String port, String subject, String text) throws Exception {
        MimeMessage message = message(session(properties(port), KEY), subject, ANN);
        message.setText(text, "UTF-8");
        Transport.send(message);
        return ACCEPTED;
    }

    static String attachment() throws Exception {
        byte[] data = new byte[200_000];
        for (int i = 0; i < data.length; i++) {
            data[i] = (byte) (i * 7);
        }
        MimeBodyPart text = new MimeBodyPart();
        text.setText("Your order is attached.\n", "UTF-8");
        MimeBodyPart html = new MimeBodyPart();
        html.setText("<p>Your order is <b>attached</b>.</p>\n", "UTF-8", "html");
        MimeBodyPart alternatives = new MimeBodyPart();
        alternatives.setContent(new MimeMultipart("alternative", text, html));
        MimeBodyPart file = new MimeBodyPart();
        file.setDataHandler(new DataHandler(new ByteArrayDataSource(data, "application/octet-stream")));
        file.setFileName("Grüße.bin");
        MimeMessage message = message(session(properties(STARTTLS), KEY), "attachment", ANN);
        message.setContent(new MimeMultipart("mixed", alternatives, file));
        Transport.send(message);
        return ACCEPTED;
    }

    static String eai() throws Exception {
        Properties properties = properties(STARTTLS);
        properties.put("mail.mime.allowutf8", "true");
        return send(session(properties, KEY), "eai", "jürgen@example.net");
    }

    static String partial() throws Exception {
        Properties properties = properties(STARTTLS);
        properties.put("mail.smtp.sendpartial", "true");
        try {
            return send(session(properties, KEY), "partial", "good@example.net", "nobody@localhost");
        } catch (SendFailedException error) {
            if (error.getValidSentAddresses() == null) {
                throw error;
            }
            Stream<Address> refused = Stream.of(error.getInvalidAddresses());
            return ACCEPTED + ", \"refused\": " + refused.map(a -> quoted(a.toString())).toList();
        }
    }

    static String noTls() throws Exception {
        Properties properties = properties(STARTTLS);
        properties.put("mail.smtp.starttls.enable", "false");
        properties.put("mail.smtp.starttls.required", "false");
        return send(session(properties, KEY), "no-tls", ANN);
    }

    static String oauth() throws Exception {
        if (TOKEN.isEmpty()) {
            return "\"outcome\": \"unsupported\", \"why\": \"SMTP_TOKEN is empty\"";
        }
        Properties properties = properties(STARTTLS);
        properties.put("mail.smtp.auth.mechanisms", "XOAUTH2");
        return send(session(properties, TOKEN), "oauth", ANN);
    }

    /** The reply is in one of the exceptions that are chained, or at the start of its message. */
    static String refused(MessagingException error) {
        int code = 0;
        String text = String.valueOf(error.getMessage()).strip();
        for (Exception next = error; next instanceof MessagingException; next = ((MessagingException) next).getNextException()) {
            if (next instanceof SMTPAddressFailedException failed) {
                code = failed.getReturnCode();
                text = failed.getMessage().strip();
            } else if (next instanceof SMTPSenderFailedException failed) {
                code = failed.getReturnCode();
                text = failed.getMessage().strip();
            } else if (next instanceof SMTPSendFailedException failed) {
                code = failed.getReturnCode();
                text = failed.getMessage().strip();
            }
        }
        var reply = Pattern.compile("(\\d{3})[ -](.*)", Pattern.DOTALL).matcher(text);
        if (reply.matches()) {
            code = Integer.parseInt(reply.group(1));
            text = reply.group(2);
        }
        return "\"outcome\": \"refused\", \"code\": " + code + ", \"text\": " + quoted(text);
    }

    static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\r", "").replace("\n", "\\n") + '"';
    }

    public static void main(String[] arguments) throws Exception {
        String[] fifty = IntStream.range(0, 50).mapToObj(i -> "r" + i + "@example.net").toArray(String[]::new);
        String dots = ".\n..\n.leading\n" + "A long paragraph. ".repeat(300) + "\n";
        Map<String, Case> cases = new LinkedHashMap<>();
        cases.put("starttls", () -> text(STARTTLS, "starttls", "Hello\n"));
        cases.put("tls", () -> text(TLS, "tls", "Hello\n"));
        cases.put("attachment", JakartaMail::attachment);
        cases.put("many", () -> send(session(properties(STARTTLS), KEY), "many", fifty));
        cases.put("unicode", () -> text(STARTTLS, "Grüße 你好", "Grüße 你好, 😀\n"));
        cases.put("eai", JakartaMail::eai);
        cases.put("partial", JakartaMail::partial);
        cases.put("wrong-password", () -> send(session(properties(STARTTLS), "mw_live_wrong"), "wrong-password", ANN));
        cases.put("no-tls", JakartaMail::noTls);
        cases.put("dots", () -> text(PLAIN, "dots", dots));
        cases.put("oauth", JakartaMail::oauth);

        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (Map.Entry<String, Case> one : cases.entrySet()) {
            System.err.println("java: " + one.getKey());
            String result;
            try {
                result = one.getValue().run();
            } catch (MessagingException error) {
                result = refused(error);
            }
            out.println("{\"case\": " + quoted(one.getKey()) + ", " + result + "}");
        }
    }
}
