// The variant for ONNX Runtime's C++ API.
#include "detector.h"

#include <array>
#include <filesystem>
#include <onnxruntime_cxx_api.h>

namespace {

class OrtDetector : public Detector {
public:
    explicit OrtDetector(const std::string& path)
        : environment_(ORT_LOGGING_LEVEL_ERROR, "detect"),
          session_(environment_, std::filesystem::u8path(path).c_str(), Ort::SessionOptions{}),
          metadata_(session_.GetModelMetadata()) {}

    std::string property(const std::string& key) const override {
        const auto value = metadata_.LookupCustomMetadataMapAllocated(key.c_str(), Ort::AllocatorWithDefaultOptions{});
        return value ? value.get() : "";
    }

    Boxes detect(const std::uint8_t* pixels, std::int64_t height, std::int64_t width) override {
        const std::array<std::int64_t, 4> shape{1, height, width, 3};
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const auto image = Ort::Value::CreateTensor<std::uint8_t>(
            memory, const_cast<std::uint8_t*>(pixels), static_cast<std::size_t>(height * width * 3), shape.data(),
            shape.size());
        const char* const inputs[] = {"image"};
        const char* const outputs[] = {"boxes", "scores", "labels", "count"};
        const auto found = session_.Run(Ort::RunOptions{nullptr}, inputs, &image, 1, outputs, 4);
        const auto count = *found[3].GetTensorData<std::int64_t>();
        const auto* corners = found[0].GetTensorData<float>();
        const auto* scores = found[1].GetTensorData<float>();
        const auto* labels = found[2].GetTensorData<std::int64_t>();
        return {{corners, corners + 8 * count}, {scores, scores + count}, {labels, labels + count}};
    }

private:
    Ort::Env environment_;
    Ort::Session session_;
    Ort::ModelMetadata metadata_;
};

}  // namespace

std::unique_ptr<Detector> open_detector(const std::string& path) { return std::make_unique<OrtDetector>(path); }
