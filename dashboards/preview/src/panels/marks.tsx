import { createDataFrame, FieldType, type DataFrame } from '@grafana/data';
import { EventsCanvas, Tooltip, type UPlotConfigBuilder } from '@grafana/ui';
import { useCallback, useLayoutEffect, useMemo, useRef } from 'react';
import type uPlot from 'uplot';
import type { Mark } from '../annotations';

/** Annotations: a dashed line where each begins, a bar below the axis for as long as it lasts, a handle to hover. */
export function Marks({ config, marks }: { config: UPlotConfigBuilder; marks: Mark[] }) {
  const plot = useRef<uPlot>(undefined);
  const current = useRef(marks);
  current.current = marks;

  useLayoutEffect(() => {
    config.addHook('init', (u) => {
      plot.current = u;
    });
    config.addHook('draw', (u) => {
      draw(u, current.current);
    });
  }, [config]);
  useLayoutEffect(() => {
    plot.current?.redraw(false);
  }, [marks]);

  const events = useMemo(() => [createDataFrame({ fields: [{ name: 'from', type: FieldType.time, values: marks.map(({ from }) => from) }] })], [marks]);
  const place = useCallback((frame: DataFrame, row: number) => {
    const u = plot.current;
    const time = frame.fields[0]?.values[row] as number | undefined;
    if (!u || time === undefined || time < (u.scales.x?.min ?? 0) || time > (u.scales.x?.max ?? 0)) {
      return undefined;
    }
    return { x: u.valToPos(time, 'x'), y: u.bbox.height / devicePixelRatio };
  }, []);
  const handle = useCallback(
    (_: DataFrame, row: number) => {
      const mark = marks[row];
      return mark ? <Handle mark={mark} /> : null;
    },
    [marks],
  );
  return <EventsCanvas id="marks" config={config} events={events} renderEventMarker={handle} mapEventToXYCoords={place} />;
}

function Handle({ mark }: { mark: Mark }) {
  return (
    <Tooltip content={<div style={{ whiteSpace: 'pre-line' }}>{`${mark.title}\n${mark.text}`}</div>}>
      <div
        aria-label={mark.title}
        style={{
          width: 0,
          height: 0,
          borderLeft: '5px solid transparent',
          borderRight: '5px solid transparent',
          borderBottom: `7px solid ${mark.color}`,
          transform: 'translateX(-5px)',
        }}
      />
    </Tooltip>
  );
}

function draw(u: uPlot, marks: Mark[]): void {
  const { left, top, width, height } = u.bbox;
  const { ctx } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height + 4 * devicePixelRatio);
  ctx.clip();
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const { from, to, color } of marks) {
    const x = Math.round(u.valToPos(from, 'x', true));
    ctx.strokeStyle = color;
    ctx.fillStyle = color;
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.fillRect(x, top + height, u.valToPos(to, 'x', true) - x, 2 * devicePixelRatio);
  }
  ctx.restore();
}
