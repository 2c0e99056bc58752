# What the programs in shell share: messages, and lines of JSON for what happened. Each sets `name` before.

from=shop@example.org
encoded_from='=?UTF-8?Q?J=C3=BCrgen_M=C3=BCller?= <shop@example.org>'
unicode_subject='=?UTF-8?B?'$(printf '%s Grüße 你好' "$name" | base64)'?='
fifty=$(seq -f 'r%g@example.net' 0 49)
dots=$(printf '.\n..\n.leading\n'; seq -s ' ' -f 'A long paragraph, part %g.' 1 300 | fold -s -w 900)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The file of the attachment: byte i is i*7 mod 256.
binary() {
    perl -e 'binmode STDOUT; print map { chr($_ * 7 % 256) } 0 .. 199_999' >"$work/Grüße.bin"
}

# header SUBJECT TO: the header of a message of text.
header() {
    printf 'From: %s\nTo: %s\nSubject: %s\nDate: %s\n' "$encoded_from" "$2" "$1" "$(date -R)"
    printf 'MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n'
}

# message SUBJECT [TO [BODY]]
message() {
    header "$1" "${2:-ann@example.net}"
    printf '%s\n' "${3:-Hello}"
}

quoted() {
    printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g; s/\r//g' | tr '\n' ' ')"
}

accepted() {
    printf '{"case": "%s", "outcome": "accepted"%s}\n' "$1" "${2:+, \"refused\": [\"$2\"]}"
}

# refused CASE TEXT: the last reply in the text that says no, or all of it.
refused() {
    reply=$(printf '%s' "$2" | grep -oE '[45][0-9]{2}[ -][45]\.[0-9]+\.[0-9]+ .*' | tail -n 1)
    code=${reply%%[ -]*}
    text=${reply#*[ -]}
    printf '{"case": "%s", "outcome": "refused", "code": %d, "text": %s}\n' "$1" "${code:-0}" "$(quoted "${text:-$2}")"
}

unsupported() {
    printf '{"case": "%s", "outcome": "unsupported", "why": %s}\n' "$1" "$(quoted "$2")"
}
