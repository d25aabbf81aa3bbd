/** Which series a panel shows: a click on the legend keeps one, with Ctrl or Shift it takes one away or brings it back. */
import { FieldType, getFieldDisplayName, type DataFrame } from '@grafana/data';
import { SeriesVisibilityChangeMode } from '@grafana/ui';

/** The names of the series in the frames. */
export function seriesNames(frames: DataFrame[]): string[] {
  return frames.flatMap((frame) => frame.fields.filter((field) => field.type === FieldType.number).map((field) => getFieldDisplayName(field, frame, frames)));
}

/** The hidden series after a click on a name of the legend. */
export function toggle(hidden: ReadonlySet<string>, name: string, mode: SeriesVisibilityChangeMode, all: string[]): ReadonlySet<string> {
  if (mode === SeriesVisibilityChangeMode.AppendToSelection) {
    const changed = new Set(hidden);
    if (!changed.delete(name)) {
      changed.add(name);
    }
    return changed;
  }
  const others = all.filter((one) => one !== name);
  const alone = !hidden.has(name) && others.every((one) => hidden.has(one));
  return new Set(alone ? [] : others);
}

/** The frames with the hidden series marked as such. */
export function applyVisibility(frames: DataFrame[], hidden: ReadonlySet<string>): DataFrame[] {
  if (!hidden.size) {
    return frames;
  }
  return frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((field) => {
      if (!hidden.has(getFieldDisplayName(field, frame, frames))) {
        return field;
      }
      const custom = { ...(field.config.custom as object | undefined), hideFrom: { viz: true, legend: false, tooltip: true } };
      return { ...field, config: { ...field.config, custom } };
    }),
  }));
}
