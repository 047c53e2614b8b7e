// Scores of one snapshot at a time.

"use strict";

for (const element of document.querySelectorAll("[data-chart]")) lesson.chart(element);
lesson.parts();
