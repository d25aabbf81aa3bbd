import { EventBusSrv, LoadingState, type DataFrame } from '@grafana/data';
import { ErrorBoundary, PanelChrome, PanelContextProvider, useTheme2, type PanelContext } from '@grafana/ui';
import { memo, useMemo, useState, type ReactNode } from 'react';
import type { Mark } from './annotations';
import type { Panel } from './dashboard';
import { replaceFunction } from './links';
import { PANELS } from './panels/registry';
import { usePanelFrames, type View } from './view';
import { applyVisibility, seriesNames, toggle } from './visibility';

interface PanelViewProps {
  panel: Panel;
  view: View;
  marks: Mark[];
  width: number;
  height: number;
  onZoom: (range: { from: number; to: number }) => void;
}

const eventBus = new EventBusSrv();

export const PanelView = memo(function PanelView({ panel, view, marks, width, height, onZoom }: PanelViewProps) {
  const { value: loaded, error, loading } = usePanelFrames(panel, view);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const frames = useMemo(() => applyVisibility(loaded ?? [], hidden), [loaded, hidden]);
  const replace = useMemo(() => replaceFunction(view.scope, view.timeRange), [view]);
  const context = useMemo<PanelContext>(
    () => ({
      eventsScope: 'global',
      eventBus,
      onToggleSeriesVisibility: (name, mode) => {
        if (typeof name === 'string') {
          setHidden((before) => toggle(before, name, mode, seriesNames(loaded ?? [])));
        }
      },
    }),
    [loaded],
  );
  const kind = PANELS[panel.type];

  const content = (innerWidth: number, innerHeight: number): ReactNode => {
    if (!kind) {
      return <Message>This panel type is not known to the preview: {panel.type}</Message>;
    }
    if (error) {
      return <Message>{error.message}</Message>;
    }
    if (!loaded) {
      return null; // the bar at the top says that it loads
    }
    if (!kind.drawsEmpty && isEmpty(loaded)) {
      return <Message>{panel.fieldConfig?.defaults.noValue ?? 'No data'}</Message>;
    }
    return (
      <ErrorBoundary dependencies={[frames]}>
        {({ error: failure }) =>
          failure ? (
            <Message>{failure.message}</Message>
          ) : (
            <kind.component
              panel={panel}
              frames={frames}
              width={innerWidth}
              height={innerHeight}
              timeRange={view.timeRange}
              timeZone={view.timeZone}
              marks={marks}
              replace={replace}
              onZoom={onZoom}
            />
          )
        }
      </ErrorBoundary>
    );
  };
  return (
    <PanelContextProvider value={context}>
      <PanelChrome
        title={replace(panel.title)}
        description={panel.description}
        width={width}
        height={height}
        loadingState={loading && kind ? LoadingState.Loading : LoadingState.Done}
        statusMessage={error?.message}
        padding={panel.type === 'table' ? 'none' : 'md'}
      >
        {content}
      </PanelChrome>
    </PanelContextProvider>
  );
});

function isEmpty(frames: DataFrame[]): boolean {
  return frames.every((frame) => frame.length === 0);
}

function Message({ children }: { children: ReactNode }) {
  const theme = useTheme2();
  return (
    <div
      style={{
        height: '100%',
        padding: theme.spacing(1),
        display: 'flex',
        alignItems: 'center',
        justifyContent: 'center',
        textAlign: 'center',
        overflow: 'auto',
        overflowWrap: 'anywhere',
        color: theme.colors.text.secondary,
      }}
    >
      <div>{children}</div>
    </div>
  );
}
