// What programs in Node and in browsers share: the API's messages, its clients, and what goes wrong.

export * from "./gen/hearth/v1/autosteer_service_pb.js";
export * from "./gen/hearth/v1/error_pb.js";
export * from "./gen/hearth/v1/feature_service_pb.js";
export * from "./gen/hearth/v1/inference_service_pb.js";
export * from "./gen/hearth/v1/prompt_pb.js";
export * from "./gen/hearth/v1/steering_pb.js";
export * from "./gen/hearth/v1/variant_service_pb.js";
export { type Failure, failureOf } from "./failure.js";
export { type Clients, type Options } from "./clients.js";
