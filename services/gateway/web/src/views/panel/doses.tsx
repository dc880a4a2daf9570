/** What nudges of a feature did to texts, measured. */

import type { Dose } from "../../api/types";
import { fixed, percent, signed } from "../../parts/numbers";
import { Term } from "../../parts/tip";

export function Doses({ doses }: { doses: Dose[] }) {
  if (!doses.length) return null;
  return (
    <section>
      <h3>
        <Term tip="Short texts were written with nudges of several strengths, and measured.">
          What nudges did
        </Term>
      </h3>
      <table class="numbers">
        <thead>
          <tr>
            <th>Strength</th>
            <th>
              <Term tip="How far the texts moved towards what the feature means, in units of its usual maximum.">
                Gain
              </Term>
            </th>
            <th>
              <Term tip="Nats a token by which the unsteered model finds the texts less likely than its own. Above 1 they read badly.">
                Loss
              </Term>
            </th>
            <th>
              <Term tip="Share of runs of three words that are different. Low where a text loops.">
                Distinct
              </Term>
            </th>
          </tr>
        </thead>
        <tbody>
          {doses.map(({ strength, gain, loss, distinct }) => (
            <tr key={strength}>
              <td>{fixed(strength)}</td>
              <td>{signed(gain)}</td>
              <td>{signed(loss)}</td>
              <td>{percent(distinct)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
