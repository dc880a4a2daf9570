#pragma once

namespace hearth {

// The deadline of each method, retries where they are safe, and round robin over servers.
extern const char kServiceConfig[];

}  // namespace hearth
