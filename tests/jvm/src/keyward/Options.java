package keyward;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** Command-line options: {@code --name value}, or {@code --name} alone. */
final class Options {
    private final Map<String, List<String>> values = new LinkedHashMap<>();

    /** Accepts the options that the usage text names, and no others. */
    Options(String[] arguments, String usage) {
        for (int i = 0; i < arguments.length; i++) {
            if (!arguments[i].startsWith("--")) {
                throw new IllegalArgumentException("unexpected argument '" + arguments[i] + "'");
            }
            String name = arguments[i].substring(2);
            if (!Pattern.compile("--" + Pattern.quote(name) + "(?![\\w-])").matcher(usage).find()) {
                throw new IllegalArgumentException("unknown option --" + name);
            }
            boolean hasValue = i + 1 < arguments.length && !arguments[i + 1].startsWith("--");
            values.computeIfAbsent(name, n -> new ArrayList<>()).add(hasValue ? arguments[++i] : "");
        }
    }

    boolean flag(String name) {
        return values.containsKey(name);
    }

    String get(String name, String otherwise) {
        List<String> given = values.get(name);
        return given == null ? otherwise : given.get(given.size() - 1);
    }

    String required(String name) {
        String value = get(name, "");
        if (value.isEmpty()) {
            throw new IllegalArgumentException("--" + name + " is missing");
        }
        return value;
    }

    List<String> all(String name) {
        return values.getOrDefault(name, Collections.emptyList());
    }

    int integer(String name, int otherwise) {
        String value = get(name, null);
        try {
            return value == null ? otherwise : Integer.parseInt(value);
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("--" + name + " wants a whole number, not '" + value + "'");
        }
    }
}
