/** Where each panel stands: Grafana's grid of 24 columns, or one column on a phone. */
import type { Panel } from './dashboard';

export interface Box {
  panel: Panel;
  x: number;
  y: number;
  width: number;
  height: number;
}

export const GAP = 8;
const COLUMNS = 24;
const CELL = 30;
const NARROW = 700;
const ROW_HEIGHT = CELL + GAP;
/** Small panels stand two in a line on a phone. */
const SMALL = 6;

const pixels = (cells: number) => cells * (CELL + GAP) - GAP;

interface Section {
  row?: Panel;
  panels: Panel[];
}

function sections(panels: Panel[]): Section[] {
  const result: Section[] = [{ panels: [] }];
  for (const panel of panels) {
    if (panel.type === 'row') {
      result.push({ row: panel, panels: [...(panel.panels ?? [])] });
    } else {
      result.at(-1)?.panels.push(panel);
    }
  }
  return result;
}

/**
 * Place the panels.
 *
 * @param panels of the dashboard
 * @param closed ids of the rows whose panels do not show
 * @param width of the page, in pixels
 */
export function layOut(panels: Panel[], closed: ReadonlySet<number>, width: number): { boxes: Box[]; height: number } {
  const boxes: Box[] = [];
  let top = 0;
  for (const { row, panels: below } of sections(panels)) {
    if (row) {
      boxes.push({ panel: row, x: 0, y: top, width, height: ROW_HEIGHT });
      top += ROW_HEIGHT;
    }
    if (row && closed.has(row.id)) {
      continue;
    }
    const placed = width < NARROW ? narrow(below, width, top) : wide(below, width, top);
    boxes.push(...placed);
    top = Math.max(top, ...placed.map((box) => box.y + box.height + GAP));
  }
  return { boxes, height: top };
}

function wide(panels: Panel[], width: number, top: number): Box[] {
  const column = (width + GAP) / COLUMNS;
  const first = Math.min(...panels.map((panel) => panel.gridPos.y));
  return panels.map((panel) => {
    const { x, y, w, h } = panel.gridPos;
    return { panel, x: x * column, y: top + (y - first) * (CELL + GAP), width: w * column - GAP, height: pixels(h) };
  });
}

function narrow(panels: Panel[], width: number, top: number): Box[] {
  const boxes: Box[] = [];
  let left = true;
  let y = top;
  for (const panel of panels) {
    const small = panel.type === 'stat' && panel.gridPos.w <= SMALL;
    const height = pixels(panel.gridPos.h);
    if (small) {
      const half = (width - GAP) / 2;
      if (left) {
        boxes.push({ panel, x: 0, y, width: half, height });
      } else {
        boxes.push({ panel, x: half + GAP, y, width: half, height });
        y += height + GAP;
      }
      left = !left;
      continue;
    }
    if (!left) {
      y = Math.max(...boxes.map((box) => box.y + box.height)) + GAP;
      left = true;
    }
    boxes.push({ panel, x: 0, y, width, height });
    y += height + GAP;
  }
  return boxes;
}
