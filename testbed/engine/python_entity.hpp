// Entities written in Python, beside the models in one plan.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <memory>
#include <utility>

#include "bindings.hpp"
#include "plan.hpp"

namespace tb {

/// An entity whose behaviour is a Python object with receive, on_timer, to_send and next_event_ps.
class PythonEntity final : public ModelEntity<PythonEntity> {
 public:
  PythonEntity(const NodeContext& context, nanobind::object model, std::uint32_t max_bytes)
      : ModelEntity(context.group, context.id, context.name, context.ports, 1),
        model_(std::move(model)),
        max_bytes_(max_bytes) {}
  void start() override {
    const nanobind::gil_scoped_acquire gil;
    after(0, 0);
  }
  void handle(std::uint32_t slot, ps_t now_ps) {
    const nanobind::gil_scoped_acquire gil;
    if (slot < control_slot()) {
      receive(slot, take_arrival(slot), now_ps);
    } else if (slot == control_slot()) {
      const Control control = take_control();
      receive(control.port, control.frame, now_ps);
    } else {
      model_.attr("on_timer")(now_ps);
    }
    after(now_ps, now_ps + static_cast<ps_t>(slot == timer_slot()));
  }
  [[nodiscard]] Counters counters() const override { return {}; }
  [[nodiscard]] bool owns(std::uint32_t card) const override { return card == id(); }

 private:
  [[nodiscard]] std::uint32_t timer_slot() const { return control_slot() + 1; }
  void receive(std::uint32_t port, Frame* frame, ps_t now_ps) {
    Frame copy = *frame;
    group_.drop_frame(frame);
    copy.buffer = kNoBuffer;
    copy.telemetry = kNoTelemetry;
    model_.attr("receive")(now_ps, port, copy);
  }
  /// Send what it has to send; its next event is at `soonest_ps` or later, so that time goes on.
  void after(ps_t now_ps, ps_t soonest_ps) {
    for (nanobind::handle item : nanobind::list(model_.attr("to_send")(now_ps))) {
      const auto port = nanobind::cast<std::uint32_t>(item[0]);
      const auto start_ps = nanobind::cast<ps_t>(item[2]);
      if (port >= ports_.size() || ports_[port].wire == kNoWire) throw nanobind::value_error("no link on that port");
      if (start_ps < now_ps || start_ps < ports_[port].busy_until_ps) {
        throw nanobind::value_error("a transmission starts at or after now, once the port is idle");
      }
      const auto given = nanobind::cast<Frame>(item[1]);
      require_whole(given, max_bytes_);
      Frame* frame = group_.take_frame();
      *frame = given;
      frame->buffer = kNoBuffer;
      frame->telemetry = kNoTelemetry;
      transmit(port, frame, start_ps);
    }
    const nanobind::object next = model_.attr("next_event_ps")();
    const ps_t next_ps = next.is_none() ? kNever : nanobind::cast<ps_t>(next);
    if (next_ps < soonest_ps)
      throw nanobind::value_error("the next event is in the past, or again at the time of the timer");
    slots_.set(timer_slot(), next_ps);
  }
  nanobind::object model_;
  std::uint32_t max_bytes_;
};

/// A node of a plan whose entity `factory(name, ports, seed)` makes.
class PythonNode final : public NodeModel {
 public:
  PythonNode(nanobind::object factory, ps_t delay_ps, bool last_bit, std::uint32_t max_bytes)
      : factory_(std::move(factory)), ingress_{.delay_ps = delay_ps, .last_bit = last_bit}, max_bytes_(max_bytes) {}
  [[nodiscard]] std::unique_ptr<Entity> make(const NodeContext& context) const override {
    const nanobind::gil_scoped_acquire gil;
    return std::make_unique<PythonEntity>(context, factory_(context.name, context.ports, context.seed), max_bytes_);
  }
  [[nodiscard]] Ingress ingress() const override { return ingress_; }
  [[nodiscard]] bool sends_control() const override { return true; }
  [[nodiscard]] std::uint32_t max_frame_bytes() const override { return max_bytes_; }

 private:
  nanobind::object factory_;
  Ingress ingress_;
  std::uint32_t max_bytes_;
};

}  // namespace tb
