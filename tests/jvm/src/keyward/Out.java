package keyward;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Locale;

/**
 * Standard output as records: one a line, {@code key=value} fields with a tab between them, the
 * first of which is {@code record=KIND}. Values hold no tab and no line break.
 */
final class Out {
    private static final BufferedReader STDIN = new BufferedReader(new InputStreamReader(System.in));

    /** Prints one record; {@code fields} are names and values in turn. */
    static void record(String kind, Object... fields) {
        StringBuilder line = new StringBuilder("record=").append(kind);
        for (int i = 0; i < fields.length; i += 2) {
            line.append('\t').append(fields[i]).append('=').append(text(fields[i + 1]));
        }
        synchronized (Out.class) {
            System.out.println(line);
            System.out.flush();
        }
    }

    /** The exception and its causes, "class: message <- class: message". */
    static String chain(Throwable error) {
        StringBuilder chain = new StringBuilder();
        for (Throwable e = error; e != null; e = e.getCause()) {
            chain.append(chain.length() == 0 ? "" : " <- ").append(e.getClass().getName());
            if (e.getMessage() != null) {
                chain.append(": ").append(e.getMessage());
            }
        }
        return chain.toString();
    }

    static double seconds(long nanos) {
        return nanos / 1e9;
    }

    static double millis(long nanos) {
        return nanos / 1e6;
    }

    /** Says {@code record=pause at=WHERE} and waits for a line, so that the caller can read counters. */
    static void pause(String where) throws IOException {
        record("pause", "at", where);
        if (line() == null) {
            throw new IOException("standard input ended at the pause '" + where + "'; send one line for each pause");
        }
    }

    /** The next line of standard input, null at its end. */
    static String line() throws IOException {
        return STDIN.readLine();
    }

    private static String text(Object value) {
        if (value instanceof Double) {
            return String.format(Locale.ROOT, "%.3f", value);
        }
        return String.valueOf(value).replaceAll("[\\t\\r\\n]+", " ");
    }

    private Out() {}
}
