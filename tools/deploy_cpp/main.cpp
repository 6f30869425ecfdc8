// Detects with a file of tools.export_onnx: `detect MODEL.onnx PICTURE OUT.png [--score 0.3]`. Prints a line for each
// box (class name, score, x1 y1 ... x4 y4 in pixels of the picture), best first, and draws the boxes into OUT.png.
// Exit codes: 0 done, 1 something in the data, 2 wrong arguments.
#include "class_names.h"
#include "detector.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace {

constexpr const char* kUsage = "usage: detect MODEL.onnx PICTURE OUT.png [--score 0.3]";

struct Arguments {
    std::string model, picture, out;
    double score = 0.3;  // lowest that is printed and drawn
};

struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

Arguments parse_arguments(int count, char** values) {
    std::vector<std::string> words(values + 1, values + count);
    Arguments arguments;
    if (words.size() == 5 && words[3] == "--score") {
        std::size_t read = 0;
        try {
            arguments.score = std::stod(words[4], &read);
        } catch (const std::exception&) {
        }
        if (read != words[4].size() || !(arguments.score >= 0 && arguments.score <= 1)) {
            throw UsageError("--score " + words[4] + " must be a number within 0 and 1");
        }
    } else if (words.size() != 3) {
        throw UsageError(kUsage);
    }
    arguments.model = words[0], arguments.picture = words[1], arguments.out = words[2];
    std::error_code ignored;  // of a file that is not there yet
    for (const std::string& input : {arguments.model, arguments.picture}) {
        if (std::filesystem::equivalent(input, arguments.out, ignored)) {
            throw UsageError(arguments.out + ": is an input; name another file for the drawing");
        }
    }
    return arguments;
}

// Throws for a file that leaves to its user what this program does not do.
void check_file(const Detector& detector, const std::string& path, const std::string& picture) {
    if (detector.property("project") != "bbavectors") {
        throw std::runtime_error(path + ": is not a file of tools.export_onnx");
    }
    if (detector.property("color") != "bgr") {
        throw std::runtime_error(path + ": reads other pictures than colour; use tools.infer_onnx");
    }
    const std::string suffix = std::filesystem::path(picture).extension().string();
    const bool is_tiff = suffix == ".tif" || suffix == ".tiff" || suffix == ".TIF" || suffix == ".TIFF";
    if (is_tiff && detector.property("bands").rfind("[", 0) == 0) {
        throw std::runtime_error(path + ": reads chosen bands of TIFF files; use tools.infer_onnx");
    }
    if (detector.property("nms") != "inside" || detector.property("letterbox") != "inside" ||
        detector.property("input_kind") != "uint8" || detector.property("dynamic") == "nothing") {
        throw std::runtime_error(path + ": export it with --nms, and without --no_letterbox, --float_input and "
                                        "--no_dynamic");
    }
}

std::vector<unsigned char> read_bytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Whether a JPEG ends before its end-of-image marker: OpenCV fills what is missing with grey and says nothing.
bool is_cut_off(const std::vector<unsigned char>& data) {
    if (data.size() < 4 || data[0] != 0xFF || data[1] != 0xD8 || data[2] != 0xFF) return false;
    std::size_t place = 2;  // segments are passed over by their lengths: thumbnails have ends, too
    while (place + 3 < data.size() && data[place] == 0xFF && data[place + 1] != 0xDA) {
        place += data[place + 1] == 0xFF ? 1 : 2 + 256 * data[place + 2] + data[place + 3];
    }
    for (; place + 1 < data.size(); ++place) {
        if (data[place] == 0xFF && data[place + 1] == 0xD9) return false;
    }
    return true;
}

cv::Mat read_picture(const std::string& path) {
    const std::vector<unsigned char> data = read_bytes(path);
    if (is_cut_off(data)) throw std::runtime_error(path + ": the file is cut off before its end; copy it again");
    // As tools.infer_onnx reads it: pixels as stored, whatever a camera's EXIF says of how it was held.
    cv::Mat picture = data.empty() ? cv::Mat() : cv::imdecode(data, cv::IMREAD_UNCHANGED);
    if (picture.empty()) throw std::runtime_error(path + ": cannot be read as a picture");
    if (picture.depth() != CV_8U) {
        throw std::runtime_error(path + ": has more than 8 bits a value, which tools.infer_onnx spreads; use that");
    }
    picture = cv::imdecode(data, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
    return picture.isContinuous() ? picture : picture.clone();
}

cv::Scalar color_of(std::int64_t label, std::size_t num_classes) {
    const double hue = 180.0 * static_cast<double>(label) / static_cast<double>(num_classes);
    cv::Mat color(1, 1, CV_8UC3, cv::Scalar(hue, 220, 255));
    cv::cvtColor(color, color, cv::COLOR_HSV2BGR);
    return cv::Scalar(color.at<cv::Vec3b>(0, 0));
}

void draw_box(cv::Mat& picture, const float* corners, const std::string& text, const cv::Scalar& color) {
    std::vector<cv::Point> points;  // in sixteenths of a pixel, from the middle of the first
    for (int corner = 0; corner < 4; ++corner) {
        points.emplace_back(cvRound((corners[2 * corner] - 0.5F) * 16), cvRound((corners[2 * corner + 1] - 0.5F) * 16));
    }
    const int width = std::max(1, cvRound(std::max(picture.rows, picture.cols) / 600.0));
    cv::polylines(picture, points, true, color, width, cv::LINE_AA, 4);
    cv::putText(picture, text, points[0] / 16, cv::FONT_HERSHEY_SIMPLEX, 0.4 * width, color, width, cv::LINE_AA);
}

int run(const Arguments& arguments) {
    const auto detector = open_detector(arguments.model);
    check_file(*detector, arguments.model, arguments.picture);
    const auto names = parse_names(detector->property("classes"));
    cv::Mat picture = read_picture(arguments.picture);
    const Boxes found = detector->detect(picture.data, picture.rows, picture.cols);
    for (std::size_t row = 0; row < found.scores.size() && found.scores[row] >= arguments.score; ++row) {
        const float* corners = found.corners.data() + 8 * row;
        const std::string& name = names.at(static_cast<std::size_t>(found.labels[row]));
        std::printf("%s %.4f", name.c_str(), found.scores[row]);
        for (int number = 0; number < 8; ++number) std::printf(" %.2f", corners[number]);
        std::printf("\n");
        draw_box(picture, corners, cv::format("%s %.2f", name.c_str(), found.scores[row]),
                 color_of(found.labels[row], names.size()));
    }
    if (!cv::imwrite(arguments.out, picture)) throw std::runtime_error(arguments.out + ": cannot be written");
    return 0;
}

}  // namespace

int main(int count, char** values) {
    try {
        return run(parse_arguments(count, values));
    } catch (const UsageError& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
