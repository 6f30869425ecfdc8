// The class names of an exported file: a list of strings in JSON, the only JSON that this program reads.
#include "class_names.h"

#include <cctype>
#include <stdexcept>

namespace {

void append_utf8(std::string& text, unsigned code) {
    if (code < 0x80) {
        text += static_cast<char>(code);
    } else if (code < 0x800) {
        text += {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
    } else {
        text += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
                 static_cast<char>(0x80 | (code & 0x3F))};
    }
}

}  // namespace

std::vector<std::string> parse_names(const std::string& json) {
    std::size_t place = 0;
    const auto next = [&]() -> char {
        if (place >= json.size()) throw std::runtime_error("the class names of the file are damaged");
        return json[place++];
    };
    const auto next_mark = [&]() -> char {
        char mark = next();
        while (std::isspace(static_cast<unsigned char>(mark))) mark = next();
        return mark;
    };
    std::vector<std::string> names;
    for (char mark = next_mark(); mark == '[' || mark == ','; mark = next_mark()) {
        const char quote = next_mark();
        if (quote == ']' && names.empty()) return names;
        if (quote != '"') break;
        std::string name;
        for (char letter = next(); letter != '"'; letter = next()) {
            if (letter != '\\') {
                name += letter;
                continue;
            }
            letter = next();
            const std::string escapes = "nrtbf", meant = "\n\r\t\b\f";
            if (letter == 'u') {
                std::string digits;
                for (int digit = 0; digit < 4; ++digit) digits += next();
                append_utf8(name, static_cast<unsigned>(std::stoul(digits, nullptr, 16)));
            } else if (const auto which = escapes.find(letter); which != std::string::npos) {
                name += meant[which];
            } else {
                name += letter;
            }
        }
        names.push_back(name);
    }
    if (names.empty() || json[place - 1] != ']') throw std::runtime_error("the class names of the file are damaged");
    return names;
}
