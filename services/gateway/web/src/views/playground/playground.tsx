import { Chat } from "./chat";
import { SteeringColumn } from "./steering";

export const Playground = () => (
  <div class="playground">
    <SteeringColumn />
    <Chat />
  </div>
);
