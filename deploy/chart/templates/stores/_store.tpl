{{/* What the StatefulSets of all stores have alike: a dict with "root", "component", "port" and "uid". */}}

{{- define "hearth.storeService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "hearth.name" . }}
  labels:
    {{- include "hearth.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  clusterIP: None
  selector:
    {{- include "hearth.selector" . | nindent 4 }}
  ports:
    - name: {{ .portName }}
      port: {{ .port }}
      targetPort: {{ .portName }}
      appProtocol: {{ .protocol }}
{{- end -}}

{{- define "hearth.storeMetadata" -}}
metadata:
  name: {{ include "hearth.name" . }}
  labels:
    {{- include "hearth.labels" . | nindent 4 }}
{{- end -}}

{{- define "hearth.storeSpec" -}}
serviceName: {{ include "hearth.name" . }}
replicas: 1
revisionHistoryLimit: 5
selector:
  matchLabels:
    {{- include "hearth.selector" . | nindent 4 }}
volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
      labels:
        {{- include "hearth.selector" . | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .values.storage.storageClassName }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .values.storage.size }}
{{- end -}}
