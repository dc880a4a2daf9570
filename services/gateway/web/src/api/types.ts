/** Short names of the messages in the generated client. */

import type { components } from "./schema";

type Schemas = components["schemas"];

export type Attribution = Schemas["AttributeResponse"];
export type AutoSteerArm = Schemas["AutoSteerArm"];
export type AutoSteerCandidate = Schemas["AutoSteerCandidate"];
export type AutoSteerInterval = Schemas["AutoSteerInterval"];
export type AutoSteerJob = Schemas["AutoSteerJob"];
export type AutoSteerResult = Schemas["AutoSteerResult"];
export type AutoSteerSample = Schemas["AutoSteerSample"];
export type AutoSteerTrial = Schemas["AutoSteerTrial"];
export type AutoSteerValidation = Schemas["AutoSteerValidation"];
export type Contrast = Schemas["ContrastResponse"];
export type Catalog = Schemas["Catalog"];
export type Edit = Schemas["EditInput"];
export type EditReport = Schemas["EditReport"];
export type Dose = Schemas["Dose"];
export type Example = Schemas["ActivatingExample"];
export type Feature = Schemas["Feature"];
export type FeatureContrast = Schemas["FeatureContrast"];
export type FeatureEffect = Schemas["FeatureEffect"];
export type FeatureHit = Schemas["FeatureHit"];
export type FeatureKey = Schemas["FeatureKeyInput"];
export type Generation = Schemas["GenerateResponse"];
export type InspectRun = Schemas["InspectResponse"];
export type JobEvent = Schemas["WatchAutoSteerJobResponse"];
export type Model = Schemas["Model"];
export type Prompt = Schemas["PromptInput"];
export type Sae = Schemas["Sae"];
export type Steering = Schemas["SteeringInput"];
export type SteeringReport = Schemas["SteeringReport"];
export type TokenWeight = Schemas["TokenWeight"];
export type Usage = Schemas["Usage"];
export type Variant = Schemas["Variant"];
