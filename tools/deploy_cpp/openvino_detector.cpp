// The variant for OpenVINO's C++ API.
#include "detector.h"

#include <openvino/openvino.hpp>

namespace {

class OpenVinoDetector : public Detector {
public:
    explicit OpenVinoDetector(const std::string& path) {
        ov::Core core;
        const auto model = core.read_model(path);
        if (model->has_rt_info("framework")) properties_ = model->get_rt_info<ov::AnyMap>("framework");
        // In float32, also where the processor has bfloat16: boxes are to be those of every other runtime.
        auto compiled = core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32),
                                           ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY));
        request_ = compiled.create_infer_request();
    }

    std::string property(const std::string& key) const override {
        const auto found = properties_.find(key);
        return found == properties_.end() ? "" : found->second.as<std::string>();
    }

    Boxes detect(const std::uint8_t* pixels, std::int64_t height, std::int64_t width) override {
        const ov::Shape shape{1, static_cast<std::size_t>(height), static_cast<std::size_t>(width), 3};
        request_.set_input_tensor(ov::Tensor(ov::element::u8, shape, const_cast<std::uint8_t*>(pixels)));
        request_.infer();
        const auto count = *request_.get_tensor("count").data<std::int64_t>();
        const auto* corners = request_.get_tensor("boxes").data<float>();
        const auto* scores = request_.get_tensor("scores").data<float>();
        const auto* labels = request_.get_tensor("labels").data<std::int64_t>();
        return {{corners, corners + 8 * count}, {scores, scores + count}, {labels, labels + count}};
    }

private:
    ov::AnyMap properties_;
    ov::InferRequest request_;
};

}  // namespace

std::unique_ptr<Detector> open_detector(const std::string& path) { return std::make_unique<OpenVinoDetector>(path); }
