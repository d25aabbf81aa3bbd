import { css } from '@emotion/css';
import { rangeUtil, type GrafanaTheme2 } from '@grafana/data';
import { Alert, Icon, useStyles2 } from '@grafana/ui';
import { useCallback, useEffect, useMemo, useRef, useState, type RefObject } from 'react';
import { setParameters } from './address';
import { Controls } from './Controls';
import type { Dashboard } from './dashboard';
import { interpolate } from './interpolation';
import { layOut } from './layout';
import { PanelView } from './PanelView';
import { PrometheusError, requestsUnderWay } from './prometheus';
import { resolveRange } from './time';
import { useMarks, useView } from './view';

interface DashboardViewProps {
  dashboard: Dashboard;
  parameters: URLSearchParams;
  refresh: string;
  onThemeChange: () => void;
}

const NO_MARKS: never[] = [];

export function DashboardView({ dashboard, parameters, refresh, onThemeChange }: DashboardViewProps) {
  const styles = useStyles2(getStyles);
  const [tick, setTick] = useState(0);
  const again = useCallback(() => {
    setTick((before) => before + 1);
  }, []);
  useRefresh(refresh, again);

  const from = parameters.get('from') ?? dashboard.time.from;
  const to = parameters.get('to') ?? dashboard.time.to;
  const timeRange = useMemo(() => {
    const range = resolveRange({ from, to }) ?? resolveRange(dashboard.time);
    if (!range) {
      throw new Error(`the dashboard's time range is none: ${String(dashboard.time.from)} to ${String(dashboard.time.to)}`);
    }
    return range;
    // "now" is another time at each tick
  }, [dashboard, from, to, tick]);
  const { value: view, error } = useView(dashboard, parameters, timeRange);
  const marks = useMarks(dashboard, view);

  const [closed, setClosed] = useState<ReadonlySet<number>>(() => new Set(dashboard.panels.filter((panel) => panel.collapsed).map(({ id }) => id)));
  const page = useRef<HTMLDivElement>(null);
  const width = useWidth(page);
  const { boxes, height } = layOut(dashboard.panels, closed, width);
  const zoom = useCallback((range: { from: number; to: number }) => {
    setParameters({ from: [String(Math.round(range.from))], to: [String(Math.round(range.to))] });
  }, []);

  return (
    <>
      <Controls dashboard={dashboard} view={view} timeRange={timeRange} refresh={refresh} onRefresh={again} onThemeChange={onThemeChange} />
      <main className={styles.main}>
        {error && (
          <Alert
            title={error instanceof PrometheusError && error.unavailable ? 'Prometheus does not answer' : 'The variables could not be loaded'}
            buttonContent="Try again"
            onRemove={again}
          >
            {error.message}
          </Alert>
        )}
        {marks.error && !error && <Alert title="The annotations could not be loaded">{marks.error.message}</Alert>}
        <div ref={page} className={styles.panels} style={{ height }}>
          {view &&
            width > 0 &&
            boxes.map((box) => (
              <div key={box.panel.id} className={styles.panel} style={{ left: box.x, top: box.y, width: box.width, height: box.height }}>
                {box.panel.type === 'row' ? (
                  <button
                    type="button"
                    className={styles.row}
                    aria-expanded={!closed.has(box.panel.id)}
                    onClick={() => {
                      setClosed((before) => toggled(before, box.panel.id));
                    }}
                  >
                    <Icon name={closed.has(box.panel.id) ? 'angle-right' : 'angle-down'} />
                    {interpolate(box.panel.title, view.scope, 'text')}
                  </button>
                ) : (
                  <PanelView panel={box.panel} view={view} marks={marks.value ?? NO_MARKS} width={box.width} height={box.height} onZoom={zoom} />
                )}
              </div>
            ))}
        </div>
      </main>
    </>
  );
}

function toggled(closed: ReadonlySet<number>, id: number): ReadonlySet<number> {
  return closed.has(id) ? new Set([...closed].filter((one) => one !== id)) : new Set([...closed, id]);
}

/** Call back at each interval, unless the page is out of sight or still waits for answers. */
function useRefresh(interval: string, again: () => void): void {
  useEffect(() => {
    if (!/^\d+[smhd]$/.test(interval)) {
      return undefined;
    }
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible' && requestsUnderWay() === 0) {
        again();
      }
    }, rangeUtil.intervalToMs(interval));
    return () => {
      clearInterval(timer);
    };
  }, [interval, again]);
}

function useWidth(element: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const { current } = element;
    if (!current) {
      return undefined;
    }
    const observer = new ResizeObserver(() => {
      setWidth(current.clientWidth);
    });
    observer.observe(current);
    return () => {
      observer.disconnect();
    };
  }, [element]);
  return width;
}

const getStyles = (theme: GrafanaTheme2) => ({
  main: css({ padding: theme.spacing(2), [theme.breakpoints.down('sm')]: { padding: theme.spacing(1) } }),
  panels: css({ position: 'relative' }),
  panel: css({ position: 'absolute' }),
  row: css({
    width: '100%',
    height: '100%',
    padding: 0,
    display: 'flex',
    alignItems: 'center',
    gap: theme.spacing(0.5),
    border: 'none',
    background: 'none',
    color: theme.colors.text.primary,
    fontSize: theme.typography.h5.fontSize,
    fontWeight: theme.typography.fontWeightMedium,
  }),
});
