// Shared by the pictures of the geometry page: the plane in which pre lies on the x axis. Needs svg.js.

const UNIT = 100; // SVG units per unit of the plane

const px = value => (value * UNIT).toFixed(2);
const spot = (x, y) => `${px(x)},${px(-y)}`; // y grows upwards in the plane, downwards in SVG

// The line on which the projection ratio is `score`, for a pre of a given length: see beft_core.scores.plane.iso_line.
function isoPath(score, length = 1, reach = 10) {
  const c = 1 - score;
  if (Math.abs(c) < 1e-4) return `M${spot(0, -reach)} L${spot(0, reach)}`;
  const half = Math.sqrt(Math.max(0, 1 - c * c));
  const radius = px(length / (2 * Math.abs(c)));
  const large = c * c < 0.5 ? 1 : 0; // more than half of the circle lies beyond the chord
  return `M${spot(c * length, -half * length)} A${radius},${radius} 0 ${large} ${c > 0 ? 0 : 1} ` +
    `${spot(c * length, half * length)} Z`;
}
