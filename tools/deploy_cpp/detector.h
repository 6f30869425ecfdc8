// An exported file at work: what main.cpp needs of a runtime. Each variant is one file that defines `open_detector`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// What is found in one picture, best first. boxes: eight numbers each, x1 y1 ... x4 y4, in pixels of the picture.
struct Boxes {
    std::vector<float> corners;
    std::vector<float> scores;
    std::vector<std::int64_t> labels;
};

class Detector {
public:
    virtual ~Detector() = default;
    // What the file says of itself under a key; empty where it says nothing.
    virtual std::string property(const std::string& key) const = 0;
    // The boxes in a picture: height x width x 3 bytes, blue first, rows one after the other.
    virtual Boxes detect(const std::uint8_t* pixels, std::int64_t height, std::int64_t width) = 0;
};

// Throws std::exception with a sentence for a file that cannot be loaded.
std::unique_ptr<Detector> open_detector(const std::string& path);
