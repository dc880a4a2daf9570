import type { AutoSteerCandidate } from "../../api/types";
import { FeatureRow } from "../../parts/feature";
import { signed } from "../../parts/numbers";

/** Features that a stage has left, best first. */
export const Candidates = ({ candidates }: { candidates: AutoSteerCandidate[] }) => (
  <section>
    <h3>Candidates so far</h3>
    <ul class="features">
      {candidates.slice(0, 8).map(({ feature, sources, lift, sign }) =>
        feature ? (
          <FeatureRow
            key={feature.index}
            feature={feature}
            value={sign < 0 ? -0.5 : 0.5}
            meta={
              <>
                <span>found by {sources.join(", ")}</span>
                {lift !== undefined && (
                  <span data-tip="Nats a token by which a nudge makes the wanted texts likelier than the others.">
                    lift {signed(lift)}
                  </span>
                )}
              </>
            }
          />
        ) : null,
      )}
    </ul>
  </section>
);
