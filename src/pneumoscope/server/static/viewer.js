// Configuration of the viewer under /viewer/. The viewer itself is OHIF as published, unchanged.
// What it says is in the reader's language: the server puts `pneumoscopeWords` before this.

const root = `${window.location.origin}/dicom-web`;
const SEG_MODALITY = "SEG";
const LUNG_WINDOW = { windowWidth: 1500, windowCenter: -600 };

const isOurs = (displaySet) => displaySet.instance?.Manufacturer === "Pneumoscope";

/** When a result was made; results of an older reading of the study come after those of the last one. */
const madeAt = ({ instance }) => `${instance?.ContentDate ?? ""}${instance?.ContentTime ?? ""}`;

const segmentations = (displaySets) =>
  displaySets.filter((one) => one.Modality === SEG_MODALITY && isOurs(one)).sort((a, b) => (madeAt(a) < madeAt(b) ? 1 : -1));

/** The series that was read last: that which the newest segmentation was drawn on. */
const isReadSeries = (displaySet, { displaySets }) => {
  const [newest] = segmentations(displaySets);
  return newest !== undefined && displaySet.displaySetInstanceUID === newest.referencedDisplaySetInstanceUID;
};

const afterPaint = (work) => requestAnimationFrame(() => setTimeout(work));

/** What the viewer's engine tells when a segmentation was put on the screen. */
const DRAWN = "CORNERSTONE_TOOLS_SEGMENTATION_RENDERED";
const noticed = new WeakSet();
const notice = document.createElement("p");
notice.lang = pneumoscopeWords.language;
notice.setAttribute("role", "status");
notice.style.cssText =
  "position: fixed; bottom: 14px; left: 50%; transform: translateX(-50%); z-index: 20; margin: 0; padding: 4px 14px; " +
  "border-radius: 12px; background: rgb(15 20 24 / 85%); color: #e6ebef; font-size: 14px; pointer-events: none";

/** At the lower edge, over the image; nothing where there is no text. */
const say = (text) => {
  if (!notice.isConnected) document.body.append(notice);
  notice.textContent = text;
  notice.hidden = !text;
};

/** The image is there before its overlay, which takes a slow machine long: who looks meanwhile must not take it for all there is. */
const sayUntilThere = (segmentation) => {
  if (noticed.has(segmentation)) return;
  noticed.add(segmentation);
  say(pneumoscopeWords.loading);
  const { load, displaySetInstanceUID } = segmentation;
  window.cornerstone.eventTarget.addEventListener(DRAWN, ({ detail }) => {
    if (detail.segmentationId === displaySetInstanceUID) say("");
  });
  segmentation.load = (...given) => {
    const loading = load(...given);
    loading.catch(() => say(pneumoscopeWords.failed));
    return loading;
  };
};

const list = (value) => (Array.isArray(value) ? value : value === undefined ? [] : [value]);

/** The slice to begin with: amidst those on which a lesion was drawn. */
const firstSlice = (images, segmentation) => {
  const asked = new URLSearchParams(window.location.search).get("initialSOPInstanceUID");
  const index = images?.instances?.findIndex((one) => one.SOPInstanceUID === asked) ?? -1;
  if (index >= 0) return { index };
  const lesions = list(segmentation?.instance?.SegmentSequence)
    .filter((one) => !/ lung$/.test(one.SegmentLabel))
    .map((one) => one.SegmentNumber);
  const sources = list(segmentation?.instance?.PerFrameFunctionalGroupsSequence)
    .filter((frame) => lesions.includes(list(frame.SegmentIdentificationSequence)[0]?.ReferencedSegmentNumber))
    .map((frame) => list(list(frame.DerivationImageSequence)[0]?.SourceImageSequence)[0]?.ReferencedSOPInstanceUID);
  const drawn = (images?.instances ?? []).flatMap((one, at) => (sources.includes(one.SOPInstanceUID) ? [at] : []));
  return drawn.length ? { index: drawn[Math.floor(drawn.length / 2)] } : undefined;
};

const hanging = {
  id: "pneumoscope",
  name: "Chest CT with its segmentation",
  protocolMatchingRules: [],
  toolGroupIds: ["default"],
  callbacks: { onViewportDataInitialized: ["pneumoscopeShowSegmentation"] },
  displaySetSelectors: {
    images: {
      seriesMatchingRules: [
        { attribute: "numImageFrames", weight: 1, constraint: { greaterThan: { value: 0 } }, required: true },
        { attribute: "isOverlayDisplaySet", weight: 1, constraint: { doesNotEqual: true }, required: true },
        { attribute: "Modality", weight: 10, constraint: { equals: "CT" } },
        { attribute: "numImageFrames", weight: 5, constraint: { greaterThan: { value: 19 } } },
        { attribute: "pneumoscopeReadSeries", weight: 50, constraint: { equals: true } },
        { attribute: "isDisplaySetFromUrl", weight: 100, constraint: { equals: true } },
      ],
    },
  },
  stages: [
    {
      name: "One up",
      viewportStructure: { layoutType: "grid", properties: { rows: 1, columns: 1 } },
      viewports: [
        {
          viewportOptions: {
            viewportId: "default",
            viewportType: "stack",
            toolGroupId: "default",
            initialImageOptions: { custom: "pneumoscopeFirstSlice", defaultValue: { preset: "middle" } },
            syncGroups: [{ type: "hydrateseg", id: "sameFORId", source: true, target: true }],
          },
          displaySets: [{ id: "images", options: { voi: LUNG_WINDOW } }],
        },
      ],
    },
  ],
};

/** Lesions are tinted, lungs only outlined, so that what lies in them is seen as it is. */
const outlineLungs = (segmentationService, segmentationId) => {
  const segments = segmentationService.getSegmentation(segmentationId)?.segments ?? {};
  for (const { label, segmentIndex } of Object.values(segments)) {
    const style = / lung$/.test(label) ? { renderFill: false, outlineWidth: 1 } : { fillAlpha: 0.3, outlineWidth: 2 };
    segmentationService.setStyle({ type: "Labelmap", segmentationId, segmentIndex }, style);
  }
};

const extension = {
  id: "pneumoscope",
  preRegistration: ({ servicesManager }) => {
    const { displaySetService, hangingProtocolService } = servicesManager.services;
    const beginWith = ([images]) => firstSlice(images, segmentations(displaySetService.getActiveDisplaySets())[0]);
    hangingProtocolService.addCustomAttribute("pneumoscopeReadSeries", "The series that was read", isReadSeries);
    hangingProtocolService.addCustomAttribute("pneumoscopeFirstSlice", "The slice to begin with", beginWith);
  },
  onModeEnter: ({ servicesManager }) => {
    const { segmentationService } = servicesManager.services;
    const { SEGMENTATION_ADDED } = segmentationService.EVENTS;
    segmentationService.subscribe(SEGMENTATION_ADDED, ({ segmentationId }) => outlineLungs(segmentationService, segmentationId));
  },
  /** A viewport that is given both waits with its image until all of the segmentation is read; so it is given that later. */
  getCommandsModule: ({ servicesManager, commandsManager }) => {
    const { displaySetService, viewportGridService } = servicesManager.services;
    const showSegmentation = () => {
      const [newest] = segmentations(displaySetService.getActiveDisplaySets());
      const viewportId = hanging.stages[0].viewports[0].viewportOptions.viewportId;
      const shown = viewportGridService.getDisplaySetsUIDsForViewport(viewportId) ?? [];
      if (!newest || !shown.includes(newest.referencedDisplaySetInstanceUID)) return;
      const displaySetInstanceUID = newest.displaySetInstanceUID;
      sayUntilThere(newest);
      afterPaint(() => commandsManager.runCommand("addDisplaySetAsLayer", { viewportId, displaySetInstanceUID }));
    };
    return { definitions: { pneumoscopeShowSegmentation: { commandFn: showSegmentation } }, defaultContext: "VIEWER" };
  },
  getHangingProtocolModule: () => [{ name: hanging.id, protocol: hanging }],
};

/** In place of the viewer's logo: the way back, and what must be said on every page. */
const logo = (React) =>
  React.createElement(
    "a",
    { href: "/", style: { color: "#5cc8d6", fontWeight: 650, lineHeight: 1.2, textDecoration: "none" } },
    "Pneumoscope",
    React.createElement("div", { lang: pneumoscopeWords.language, style: { color: "#ffc43d", fontSize: 10 } }, pneumoscopeWords.notForDiagnosis),
  );

window.config = {
  name: "pneumoscope",
  routerBasename: "/viewer",
  extensions: [extension],
  modes: [],
  modesConfiguration: { "@ohif/mode-longitudinal": { hangingProtocol: { $set: hanging.id } } },
  customizationService: { global: { "ohif.tours": { $set: [] } } },
  whiteLabeling: { createLogoComponentFn: logo },
  showStudyList: false,
  maxNumberOfWebWorkers: 2,
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 6 },
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false,
  strictZSpacingForVolumeViewport: true,
  disableConfirmationPrompts: true,
  investigationalUseDialog: { option: "never" }, // the logo's place says it
  showErrorDetails: "production",
  defaultDataSourceName: "node",
  dataSources: [
    {
      namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
      sourceName: "node",
      configuration: {
        friendlyName: "Pneumoscope",
        name: "node",
        qidoRoot: root,
        wadoRoot: root,
        wadoUriRoot: root,
        qidoSupportsIncludeField: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        imageRendering: "wadors",
        thumbnailRendering: "wadors",
        enableStudyLazyLoad: true,
        omitQuotationForMultipartRequest: true,
        bulkDataURI: { enabled: true },
      },
    },
  ],
};
