// The class names of an exported file.
#pragma once

#include <string>
#include <vector>

// A list of strings in JSON, such as ["car", "\u8239"], as UTF-8. Throws std::runtime_error for anything else.
std::vector<std::string> parse_names(const std::string& json);
