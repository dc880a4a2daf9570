{{/* What all pods have alike. Each takes a dict with "root", "component" and, where it is about one, "model". */}}

{{/* The beginning of every pod's spec. */}}
{{- define "hearth.pod" -}}
serviceAccountName: {{ include "hearth.name" (dict "root" .root "component" .component) }}
automountServiceAccountToken: false
# Else Kubernetes would set variables such as HEARTH_GATEWAY_PORT=tcp://..., which are settings of ours.
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Whom a pod runs as; "uid" unless it is ours, 10001. */}}
{{- define "hearth.podSecurity" -}}
{{- $uid := default 10001 .uid -}}
runAsNonRoot: true
runAsUser: {{ $uid }}
runAsGroup: {{ default $uid .gid }}
fsGroup: {{ default $uid .gid }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "hearth.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where a pod may run; takes "values" with nodeSelector, tolerations, affinity and priorityClassName. */}}
{{- define "hearth.scheduling" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations | default .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if not .single }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: {{ default "kubernetes.io/hostname" .values.spreadOver }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "hearth.selector" . | nindent 8 }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "hearth.selector" . | nindent 8 }}
{{- end }}
{{- end -}}

{{/* Probes of a process that speaks gRPC; "startupSeconds" where it takes long until it serves. */}}
{{- define "hearth.grpcProbes" -}}
startupProbe:
  grpc:
    port: 50060
    {{- if not .startupSeconds }}
    service: liveness
    {{- end }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: {{ div (add (default 120 .startupSeconds) 4) 5 }}
livenessProbe:
  grpc:
    port: 50060
    service: liveness
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 4
readinessProbe:
  grpc:
    port: 50060
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* While a pod that is stopped still takes calls. */}}
{{- define "hearth.preStop" -}}
lifecycle:
  preStop:
    sleep:
      seconds: {{ int .root.Values.preStopSeconds }}
{{- end -}}

{{- define "hearth.metricsPort" -}}
{{- if .root.Values.metrics.enabled }}
- name: metrics
  containerPort: 9464
{{- end }}
{{- end -}}

{{/* What all processes are told. */}}
{{- define "hearth.commonEnv" -}}
{{- if .root.Values.metrics.enabled }}
- name: HEARTH_METRICS_HOST
  value: "0.0.0.0"
- name: HEARTH_METRICS_PORT
  value: "9464"
{{- end }}
{{- with .root.Values.traces.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "k8s.namespace.name=%s,service.namespace=%s" $.root.Release.Namespace $.root.Release.Name | quote }}
{{- end }}
{{- include "hearth.tlsEnv" . }}
{{- end -}}

{{/* What the processes are told that answer gRPC: how to leave, and whom to believe. With TLS, whoever is not believed
needs a key; without it nobody can prove who they are, and network policies keep others out. */}}
{{- define "hearth.serverEnv" -}}
- name: HEARTH_LEAVE_SECONDS
  value: {{ int .root.Values.leaveSeconds | quote }}
{{- if .root.Values.tls.enabled }}
{{- include "hearth.databaseEnv" (dict "root" .root "name" "HEARTH_KEYS_DATABASE_URL" "bare" .bare) }}
- name: HEARTH_KEYS_TRUSTED
  value: {{ include "hearth.trusted" . | fromJsonArray | toJson | quote }}
{{- end }}
{{- end -}}

{{/* Names of certificates, as JSON. */}}
{{- define "hearth.trusted" -}}
{{- $tls := .root.Values.tls -}}
{{- if $tls.trusted -}}
{{- toJson $tls.trusted -}}
{{- else if $tls.certManager.enabled -}}
{{- $names := list -}}
{{- range list "gateway" "autosteer" "worker" "tools" -}}
{{- $names = append $names (include "hearth.name" (dict "root" $.root "component" .)) -}}
{{- end -}}
{{- toJson $names -}}
{{- else -}}
{{- list (required "tls.trusted or tls.serverName names whom to believe, with tls.existingSecret" $tls.serverName) | toJson -}}
{{- end -}}
{{- end -}}

{{- define "hearth.tlsEnv" -}}
{{- if .root.Values.tls.enabled }}
- name: HEARTH_TLS_CERTIFICATE
  value: /etc/hearth/tls/tls.crt
- name: HEARTH_TLS_KEY
  value: /etc/hearth/tls/tls.key
- name: HEARTH_TLS_AUTHORITY
  value: /etc/hearth/tls/ca.crt
{{- with .root.Values.tls.serverName }}
- name: HEARTH_TLS_SERVER_NAME
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "hearth.tlsMount" -}}
{{- if .root.Values.tls.enabled }}
- name: tls
  mountPath: /etc/hearth/tls
  readOnly: true
{{- end }}
{{- end -}}

{{- define "hearth.tlsVolume" -}}
{{- if .root.Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "hearth.tlsSecret" . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{/* The Secret with a component's certificate. */}}
{{- define "hearth.tlsSecret" -}}
{{- if .root.Values.tls.certManager.enabled -}}
{{- printf "%s-tls" (include "hearth.name" .) -}}
{{- else -}}
{{- required "tls.existingSecret names a Secret with tls.crt, tls.key and ca.crt, unless tls.certManager is enabled" .root.Values.tls.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* Folders that may be written on a root that may not: temporary files, data, and the cache of "size". */}}
{{- define "hearth.scratchMounts" -}}
- name: tmp
  mountPath: /tmp
- name: data
  mountPath: /var/lib/hearth
{{- end -}}

{{- define "hearth.scratchVolumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
- name: data
  emptyDir: {sizeLimit: 256Mi}
{{- end -}}

{{/* The cache of the sentence encoder; with baked models, beside those of the image. */}}
{{- define "hearth.encoderMounts" -}}
- name: cache
  mountPath: {{ ternary "/var/cache/hearth/examinations" "/var/cache/hearth" .root.Values.image.modelsBaked }}
{{- end -}}

{{- define "hearth.encoderVolumes" -}}
- name: cache
  emptyDir: {sizeLimit: {{ .root.Values.encoderCacheSize }}}
{{- end -}}
